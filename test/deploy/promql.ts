import { parser } from '@prometheus-io/lezer-promql';

type Tree = ReturnType<typeof parser.parse>;
type Node = Tree['topNode'];

/** A selector of a query, with every label that the query wants of what it selects. */
export interface Asked {
  metric: string;
  labels: string[];
}

// Grafana puts a duration in.
const asPrometheus = (query: string) => query.replaceAll('$__rate_interval', '5m');

/** The labels that the outermost aggregation of a query keeps; undefined where nothing is aggregated. */
export function keptLabels(query: string): string[] | undefined {
  const text = asPrometheus(query);
  const outermost = namesIn(parser.parse(text).topNode, 'AggregateExpr')[0];
  const modifier = outermost?.getChild('AggregateModifier');
  if (!outermost) return undefined;
  return modifier ? namesIn(modifier, 'LabelName').map((node) => text.slice(node.from, node.to)) : [];
}

/**
 * What a query in PromQL selects, read by Prometheus' own grammar. Labels are those of its matchers, and of the groupings
 * around it.
 * @throws Error where it isn't PromQL
 */
export function selectorsOf(query: string): Asked[] {
  const text = asPrometheus(query);
  const found: Asked[] = [];
  parser.parse(text).iterate({
    enter: ({ node }) => {
      if (node.type.isError) throw new Error(`not PromQL at character ${node.from}: ${text}`);
      if (node.name === 'VectorSelector') found.push(readSelector(node, text));
    },
  });
  return found;
}

function readSelector(selector: Node, text: string): Asked {
  const written = (node: Node) => text.slice(node.from, node.to);
  const labels = namesIn(selector, 'LabelName').map(written);
  for (let node = selector.parent; node; node = node.parent) {
    if (node.name !== 'AggregateExpr') continue;
    const modifier = node.getChild('AggregateModifier');
    if (modifier) labels.push(...namesIn(modifier, 'LabelName').map(written));
  }
  const name = selector.getChild('Identifier');
  if (!name) throw new Error(`selects by no name: ${text}`);
  return { metric: written(name), labels };
}

function namesIn(node: Node, name: string): Node[] {
  const found: Node[] = [];
  node.cursor().iterate((inner) => {
    if (inner.name === name) found.push(inner.node);
  });
  return found;
}
