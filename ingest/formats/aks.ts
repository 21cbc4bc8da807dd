import { parseJson } from '../../core/parse-json.js';
import { readTextLine } from './audit-log.js';
import {
  event,
  type FormatDefinition,
  type FormatReader,
  isObject,
  type Loose,
  type ParsedRecord,
  problem,
  skipped,
  stringOf,
} from './format-reader.js';
import type { Item } from './item.js';
import { SplitTexts } from './split-texts.js';
import { looksLikeEvent, unwrap } from './wrapped-event.js';

const AUDIT_CATEGORIES = new Set(['kube-audit', 'kube-audit-admin']);

/**
 * AKS audit logs by an Azure diagnostic setting: `{records: [...]}` from an event hub, or a record a line in a storage
 * account, in files that may begin with a byte order mark (Azure Monitor, "Azure resource logs common and service-specific
 * schemas"; AKS, "Monitoring data reference"). The Event stands in `properties.log`, as text or as an object, of the
 * categories kube-audit and kube-audit-admin, which hold the same Event when both are enabled. Texts are cut at 16 KiB
 * (github.com/Azure/AKS/issues/4635); large bodies are replaced by the string "skipped-too-big-size-object".
 */
export const aks: FormatDefinition = {
  claims: ({ value }) =>
    isObject(value) &&
    categoryOf(value) !== undefined &&
    ('properties' in value || 'operationName' in value || 'resourceId' in value || 'log_s' in value),
  open: ({ maxItemBytes }) => new AksReader(maxItemBytes),
};

function categoryOf(value: Loose): string | undefined {
  return stringOf(value.category) ?? stringOf(value.Category);
}

class AksReader implements FormatReader {
  readonly #split: SplitTexts;

  constructor(maxItemBytes: number) {
    this.#split = new SplitTexts(maxItemBytes);
  }

  *read(record: ParsedRecord): Generator<Item> {
    const { value } = record;
    if (record.type === 'text' || !isObject(value)) {
      yield record.type === 'text' ? readTextLine(record) : problem('not_an_object', record);
      return;
    }
    const category = categoryOf(value) ?? '';
    const properties = propertiesOf(value);
    const log = properties.log ?? value.log_s;
    const stream = [category, value.resourceId, properties.pod, properties.containerID].join('\n');
    const time = value.time ?? value.TimeGenerated;
    if (typeof log === 'string') {
      const continued = this.#split.continue(stream, log, record);
      if (continued) {
        yield* continued;
        return;
      }
    }
    const wrapped = unwrap(log);
    // Another event in the stream: what was cut before it has no rest.
    if (wrapped.found === 'event' || wrapped.found === 'cut') yield* this.#split.flush(stream);
    if (wrapped.found === 'event') yield event(wrapped.value, { ...record, head: {} });
    else if (wrapped.found === 'cut' && (AUDIT_CATEGORIES.has(category) || looksLikeEvent(wrapped.text)))
      yield* this.#split.hold(stream, wrapped.text, time, record);
    else if (wrapped.found === 'deep') yield problem('too_deep', record);
    else
      yield AUDIT_CATEGORIES.has(category)
        ? problem('not_an_audit_event', record)
        : skipped('other_log_category', record);
  }

  end(): Iterable<Item> {
    return this.#split.flush();
  }
}

function propertiesOf(value: Loose): Loose {
  const { properties } = value;
  if (isObject(properties)) return properties;
  if (typeof properties !== 'string') return {};
  try {
    const parsed = parseJson(properties);
    return isObject(parsed) ? parsed : {};
  } catch {
    return { log: properties };
  }
}
