import type { RowOrigin } from '../../core/report/ocsf.js';
import type { ReportRow } from '../../core/report/report.js';

/** A member of a population with nothing unusual about it. */
export const REPORT_ROW: ReportRow = {
  id: 'id-1',
  at: '2026-07-02T00:00:00Z',
  cluster: 'prod',
  namespace: 'shop',
  object: 'deployments/web',
  actor: 'alice',
  summary: 'image v1 → v2',
  verdict: 'approved',
  exception: false,
};

/** What the event of such a member says. */
export const ROW_ORIGIN: RowOrigin = {
  verb: 'patch',
  code: 200,
  apiGroup: 'apps',
  apiVersion: 'v1',
  resource: 'deployments',
  subresource: null,
  name: 'web',
  username: 'alice',
  impersonatedUsername: null,
  sourceIPs: ['203.0.113.7'],
  userAgent: 'kubectl/v1.31.0',
  auditID: '9f1c3c1e-5b1a-4a57-9a63-0b1f6a1f2b7d',
  requestURI: '/apis/apps/v1/namespaces/shop/deployments/web?fieldManager=kubectl',
};
