import { readTextLine } from './audit-log.js';
import { event, type FormatDefinition, isObject } from './format-reader.js';

/**
 * An audit.k8s.io EventList in an object, as a kube-apiserver posts it to a webhook
 * (k8s.io/apiserver/plugin/pkg/audit/webhook) and something stored it; one, or one after another. Bare Events too.
 */
export const storedEventList: FormatDefinition = {
  claims: ({ list, value }) => list === 'items' || (isObject(value) && value.kind === 'EventList'),
  open: () => ({
    *read(record) {
      if (record.type === 'text') yield readTextLine(record);
      // One whose items are null or absent is an empty one.
      else if (!isObject(record.value) || record.value.kind !== 'EventList')
        yield event(record.value, record);
    },
  }),
};
