import { type Static, Type } from 'typebox';
import { WhochangedError } from '../core/errors.js';
import type { CanaryProbe, MetricsProbe, ProbesItem } from '../store/completeness/probes.js';
import { inUtc } from './times.js';

const CANARY_NAMESPACE = 'kube-system';

const Time = Type.Union([Type.String(), Type.Null()]);
const Reference = Type.String({
  pattern: '^(env:WHOCHANGED_CREDENTIAL_[A-Z0-9_]+|file:/.+)$',
  maxLength: 1000,
  description: 'where a credential is, as the process with the role jobs sees it: file:/path or env:NAME',
});
const MetricsCredentials = {
  token: Type.Optional(Reference),
  ca: Type.Optional(Reference),
  cert: Type.Optional(Reference),
  key: Type.Optional(Reference),
};
const Metrics = Type.Object(
  { url: Type.String(), ...MetricsCredentials, askedAt: Time, error: Time },
  { description: 'where the apiserver\u2019s audit counters are read' },
);
const Canary = Type.Object(
  { kubeconfig: Type.String(), namespace: Type.String(), askedAt: Time, error: Time },
  { description: 'writes through the apiserver whose audit events must come back' },
);
/** The members of a source that tell of its probes. */
export const ProbeSchemas = { metrics: Type.Optional(Metrics), canary: Type.Optional(Canary) };

/** What an admin sets: null ends a probe, what is left out stays. */
export const Probes = Type.Object(
  {
    metrics: Type.Optional(
      Type.Union([
        Type.Object(
          { url: Type.String({ maxLength: 2000 }), ...MetricsCredentials },
          { additionalProperties: false },
        ),
        Type.Null(),
      ]),
    ),
    canary: Type.Optional(
      Type.Union([
        Type.Object(
          {
            kubeconfig: Reference,
            namespace: Type.Optional(Type.String({ pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' })),
          },
          { additionalProperties: false },
        ),
        Type.Null(),
      ]),
    ),
  },
  { additionalProperties: false },
);

/** How a source's apiserver is asked, and how that fares. */
export function probesItem(probes: ProbesItem | null): {
  metrics?: Static<typeof Metrics>;
  canary?: Static<typeof Canary>;
} {
  if (!probes) return {};
  const {
    metrics_url: url,
    metrics_token: token,
    metrics_ca: ca,
    metrics_cert: cert,
    metrics_key: key,
  } = probes;
  return {
    ...(url !== null && {
      metrics: {
        url,
        ...(token !== null && { token }),
        ...(ca !== null && { ca }),
        ...(cert !== null && { cert }),
        ...(key !== null && { key }),
        askedAt: inUtc(probes.metrics_asked_at),
        error: probes.metrics_error,
      },
    }),
    ...(probes.canary_kubeconfig !== null && {
      canary: {
        kubeconfig: probes.canary_kubeconfig,
        namespace: probes.canary_namespace!,
        askedAt: inUtc(probes.canary_asked_at),
        error: probes.canary_error,
      },
    }),
  };
}

/** @throws WhochangedError `invalid_request` where a credential could leak, or nothing could come of it */
export function readProbes({ metrics, canary }: Static<typeof Probes>): {
  metrics?: MetricsProbe | null;
  canary?: CanaryProbe | null;
} {
  if (metrics) checkMetrics(metrics);
  return {
    ...(metrics !== undefined && {
      metrics: metrics && {
        url: metrics.url,
        token: metrics.token ?? null,
        ca: metrics.ca ?? null,
        cert: metrics.cert ?? null,
        key: metrics.key ?? null,
      },
    }),
    ...(canary !== undefined && { canary: canary && { namespace: CANARY_NAMESPACE, ...canary } }),
  };
}

function checkMetrics({
  url,
  token,
  cert,
  key,
}: {
  url: string;
  token?: string;
  cert?: string;
  key?: string;
}): void {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !/^https?:$/.test(parsed.protocol) || parsed.username || parsed.password)
    throw new WhochangedError(
      'invalid_request',
      'metrics.url: expected an http(s) URL without a user in it',
      {
        hint: 'write it like https://10.0.0.5:6443/metrics',
      },
    );
  if (
    parsed.protocol === 'http:' &&
    (token !== undefined || cert !== undefined) &&
    !/^(localhost|\[::1\]|127(\.\d+){3})$/.test(parsed.hostname)
  )
    throw new WhochangedError('invalid_request', 'metrics.url: a credential goes over https only');
  if ((cert === undefined) !== (key === undefined))
    throw new WhochangedError('invalid_request', 'metrics: cert and key go together');
}
