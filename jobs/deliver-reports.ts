import type { ClientBase } from 'pg';
import { signedHeaders } from '../core/alerts/payload.js';
import { classesOf } from '../core/report/controls.js';
import { endedPeriods, type ReportDelivery } from '../core/report/delivery.js';
import { REPORT_FILES } from '../core/report/formats.js';
import { completenessStatement } from '../core/report/report.js';
import { type JobArchive, loadReached } from '../store/archive/load-reached.js';
import { checkQuestion, makeReport } from '../store/queries/report.js';
import {
  type DeliveredFile,
  findDeliveryState,
  findDuePeriods,
  findNotedUntil,
  notePeriods,
  recordDelivered,
  recordDeliveryFailure,
} from '../store/report-deliveries.js';
import type { S3Clients } from '../store/s3-client.js';
import { parseS3Place } from '../store/s3-place.js';
import { uploadObject } from '../store/s3-upload.js';
import { storeOn } from '../store/tenant.js';
import { post } from './alerts/send.js';
import { type CredentialPlaces, readReference } from './credentials.js';
import type { Job } from './job.js';
import { reportFile } from './report-files.js';
import type { ReportMetrics } from './report-metrics.js';

/** Verdicts wait for late evidence; a period that has just ended is given this long. */
const SETTLE_MS = 3_600_000;
const MAX_ERROR = 300;

export interface ReportDeliveryParts {
  deliveries: readonly ReportDelivery[];
  s3: S3Clients;
  credentials: CredentialPlaces;
  version: string;
  /** What of a period has gone there is read back first. */
  archive: JobArchive | undefined;
  metrics: ReportMetrics;
}

/**
 * Makes each report of the file once its period has ended, and delivers it: files into a bucket, under names that a
 * second try writes again, and a signed message to a webhook. At least once; what failed is tried again until it is
 * delivered, and recorded. Periods that ended while nothing ran are made up for.
 */
export function deliverReportsJob(parts: ReportDeliveryParts): Job {
  return {
    name: 'deliver-reports',
    schedule: '20 */5 * * * *',
    async runOnce({ client, now, log, signal }) {
      let rows = 0;
      for (const delivery of parts.deliveries) {
        const { name, every } = delivery;
        const settled = new Date(now().getTime() - SETTLE_MS);
        const noted = await findNotedUntil(client, name);
        await notePeriods(client, name, endedPeriods(every, settled, noted), now());
        for (const period of await findDuePeriods(client, name, now())) {
          if (signal.aborted) break;
          const at = now();
          try {
            const delivered = await deliver(client, delivery, period, at, parts);
            await recordDelivered(client, name, period.since, { at, ...delivered });
            rows++;
          } catch (error) {
            const text = (error as Error).message.replace(/\s+/g, ' ').slice(0, MAX_ERROR);
            await recordDeliveryFailure(client, name, period.since, { at, error: text });
            parts.metrics.failures.inc({ delivery: name });
            log.warn({ delivery: name, since: period.since, error: text }, 'a report could not be delivered');
            // What keeps one from being delivered mostly keeps the next as well, which is tried in its turn.
            break;
          }
        }
        const { deliveredUntil, waiting } = await findDeliveryState(client, name);
        parts.metrics.waiting.set({ delivery: name }, waiting);
        if (deliveredUntil !== null)
          parts.metrics.deliveredUntil.set({ delivery: name }, Date.parse(deliveredUntil) / 1000);
      }
      return { rows };
    },
  };
}

async function deliver(
  client: ClientBase,
  delivery: ReportDelivery,
  period: { since: string; until: string },
  at: Date,
  { s3, credentials, version, archive }: ReportDeliveryParts,
): Promise<{ populationDigest: string; files: DeliveredFile[] }> {
  const { control, clusters, environments } = delivery;
  const store = storeOn(client);
  const question = { control, clusters, environments, ...period };
  if (archive) {
    const clusterIDs = (await checkQuestion(store.db, question)).map(({ id }) => id);
    await loadReached(client, archive, { clusterIDs, ...period, classes: classesOf(control.population) });
  }
  const report = await makeReport(store, question);
  const files: DeliveredFile[] = [];
  const day = (time: string) => time.slice(0, 10);
  if (delivery.to !== undefined) {
    const place = parseS3Place(delivery.to);
    const bucket = await s3.s3(place);
    const folder = `${place.prefix}${delivery.name}/${day(period.since)}_${day(period.until)}/`;
    for (const format of delivery.formats) {
      const { extension, type } = REPORT_FILES[format];
      const name = `${folder}${control.id}.${extension}`;
      const pieces = reportFile(store, report, format, { generatedAt: at.toISOString(), version });
      const target = { Bucket: place.bucket, Key: name, ContentType: type };
      files.push({ name, ...(await uploadObject(bucket, target, pieces)) });
    }
  }
  if (delivery.webhook !== undefined) {
    const { url, secret } = delivery.webhook;
    const { exceptions: _exceptions, sample: _sample, ...head } = report;
    const body = JSON.stringify({
      type: 'whochanged.report',
      delivery: delivery.name,
      ...head,
      completenessStatement: completenessStatement(report),
      generatedAt: at.toISOString(),
      files,
    });
    const key = (await readReference(secret, credentials)).trim();
    const id = `report-${delivery.name}-${day(period.since)}`;
    const sent = await post(
      url,
      body,
      signedHeaders(key, id, Math.floor(Date.now() / 1000), body),
      undefined,
    );
    if (sent.error !== undefined) throw new Error(sent.error);
  }
  return { populationDigest: report.populationDigest, files };
}
