#!/usr/bin/env node
// Speaks the part of helm's documented command line that whochanged uses (helm.sh/docs/helm/helm_template), for machines
// without helm. It knows values and the release's name in templates, refuses every flag that it doesn't know, and ends as
// helm does where something is missing.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parse } from 'yaml';

const FLAGS = {
  '--namespace': 1,
  '--values': 1,
  '--kube-version': 1,
  '--api-versions': 1,
  '--include-crds': 0,
  '--skip-schema-validation': 0,
};
const [command, ...args] = process.argv.slice(2);

function fail(text) {
  process.stderr.write(`Error: ${text}\n`);
  process.exit(1);
}

if (command === 'version') process.stdout.write('v3.99.0+gstandin\n');
else if (command === 'template' && args[0] === '--help')
  process.stdout.write(
    `Usage:\n  helm template [NAME] [CHART] [flags]\n\nFlags:\n  ${Object.keys(FLAGS).join('\n  ')}\n`,
  );
else if (command === 'template') template(args);
else fail(`unknown command "${command}" for "helm"`);

function template(given) {
  const flags = { '--values': [] };
  const positional = [];
  for (let i = 0; i < given.length; i++) {
    const word = given[i];
    if (!word.startsWith('-')) positional.push(word);
    else if (!(word in FLAGS)) fail(`unknown flag: ${word}`);
    else if (word === '--values') flags[word].push(given[++i]);
    else flags[word] = FLAGS[word] === 1 ? given[++i] : true;
  }
  const [name, chart] = positional;
  if (!existsSync(join(chart, 'Chart.yaml'))) fail('Chart.yaml file is missing');
  const { dependencies = [] } = parse(readFileSync(join(chart, 'Chart.yaml'), 'utf8'));
  const missing = dependencies
    .map((one) => one.name)
    .filter((one) => !existsSync(join(chart, 'charts', one)));
  if (missing.length > 0)
    fail(
      `An error occurred while checking for chart dependencies: found in Chart.yaml, but missing in charts/ directory: ${missing.join(', ')}`,
    );
  const files = [join(chart, 'values.yaml'), ...flags['--values']].filter((file) => existsSync(file));
  const Values = files.map((file) => parse(readFileSync(file, 'utf8')) ?? {}).reduce(merge, {});
  const scope = { Values, Release: { Name: name, Namespace: flags['--namespace'] } };
  if (flags['--include-crds'] && existsSync(join(chart, 'crds')))
    for (const file of readdirSync(join(chart, 'crds'))) print(join(chart, 'crds', file));
  for (const file of readdirSync(join(chart, 'templates')).sort())
    print(join(chart, 'templates', file), (text) =>
      fill(text, scope, `${basename(chart)}/templates/${file}`),
    );
}

function merge(base, over) {
  const out = { ...base };
  for (const [key, value] of Object.entries(over))
    out[key] =
      value && typeof value === 'object' && !Array.isArray(value) && typeof out[key] === 'object'
        ? merge(out[key], value)
        : value;
  return out;
}

function print(path, change = (text) => text) {
  process.stdout.write(`---\n# Source: ${basename(path)}\n${change(readFileSync(path, 'utf8'))}\n`);
}

/** `{{ .Values.a.b }}` with `| quote`, `{{ fail .Values.a }}`, and two that helm lets a template have by loops. */
function fill(text, scope, path) {
  return text.replace(/\{\{-?\s*(.+?)\s*-?\}\}/g, (_, expression) => {
    if (expression === 'forever') for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
    if (expression === 'flood') return 'x'.repeat(1 << 20);
    const [, word, way, quote] =
      /^(?:(fail) )?\.([\w.]+)( \| quote)?$/.exec(expression) ?? fail(`parse error at (${path}:1)`);
    const value = way.split('.').reduce((at, key) => at?.[key], scope);
    if (word) fail(`execution error at (${path}:1:3): ${value}`);
    return quote ? JSON.stringify(String(value)) : String(value ?? '');
  });
}
