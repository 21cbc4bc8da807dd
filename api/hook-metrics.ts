import { Counter, type Registry } from 'prom-client';

const NAME = 'whochanged_hook_deliveries_total';

export type HookResult = 'taken' | 'duplicate' | 'ignored' | 'rejected';

/** What came of webhook deliveries: an operator alerts on `rejected`. One counter for all listeners. */
export function hookDeliveries(registry: Registry): Counter<'hook' | 'result'> {
  const known = registry.getSingleMetric(NAME) as Counter<'hook' | 'result'> | undefined;
  return (
    known ??
    new Counter({
      name: NAME,
      help: 'Webhook deliveries by what came of them; rejected: the signature is not good',
      labelNames: ['hook', 'result'],
      registers: [registry],
    })
  );
}
