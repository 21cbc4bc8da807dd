import { readMessage } from './cloudwatch-subscription.js';
import { type FormatDefinition, problem, skipped } from './format-reader.js';
import { salvaged } from './wrapped-event.js';

const TIME = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z) /;
/** What a task writes into `aws-logs-write-test` before it exports, to see whether it may. */
const WRITE_TEST = /^Permission Check Successful\s*$/;

/**
 * EKS audit logs as a CloudWatch Logs export task writes them to S3: a line an event, the time of the log event before
 * its message (Amazon CloudWatch Logs user guide, "Export log data to Amazon S3"). A task writes every stream of the
 * group, each into objects of its own; those of other streams are skipped, and so is the object that tests the bucket.
 */
export const cloudwatchExport: FormatDefinition = {
  claims: ({ type, text, prefix }) =>
    type === 'text' ? TIME.test(text) || WRITE_TEST.test(text) : TIME.test(prefix),
  open: () => ({
    *read(record) {
      const time = TIME.exec(record.type === 'text' ? record.text : record.prefix)?.[1];
      if (record.type === 'json') {
        yield readMessage(record.value, undefined, time, record);
      } else if (WRITE_TEST.test(record.text)) {
        yield skipped('write_test', record);
      } else {
        yield time === undefined ? problem('not_json', record) : skipped('other_log_stream', record);
      }
    },
    *readCut(record) {
      yield salvaged(record.text, TIME.exec(record.prefix)?.[1], record);
    },
  }),
};
