import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv, type AnySchemaObject, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';

/** The published schemas of the formats that reports have, as their publishers serve them. */
export interface PublishedSchemas {
  /** NIST's release of OSCAL 1.1.2: `oscal_assessment-results_schema.json`. */
  results: PublishedSchema;
  /** The OCSF server's for class 6003 of 1.5.0, without profiles: `api_activity.schema.json`. */
  activity: PublishedSchema;
}

export interface PublishedSchema {
  /** Its `$id`. */
  id: string;
  /** What is wrong with a document by it; empty where nothing is. */
  problems(document: unknown): string[];
}

let read: PublishedSchemas | undefined;

/**
 * Reads the schemas from the folder that `WHOCHANGED_SCHEMAS` names (docs/development.md says how to fetch them). Undefined
 * where it names none: no schema of others is kept in this repository.
 * @throws Error where the folder is named and a schema is not in it, or is none
 */
export function publishedSchemas(): PublishedSchemas | undefined {
  const folder = process.env.WHOCHANGED_SCHEMAS;
  if (folder === undefined || folder === '') return undefined;
  read ??= {
    results: compiled(join(folder, 'oscal_assessment-results_schema.json')),
    activity: compiled(join(folder, 'api_activity.schema.json')),
  };
  return read;
}

function compiled(file: string): PublishedSchema {
  const schema: AnySchemaObject = JSON.parse(readFileSync(file, 'utf8'));
  // Not strict: OCSF's has `$defs` in draft 7. Formats are checked, and patterns are Unicode, as OSCAL's need.
  const ajv = new Ajv({ allErrors: true, strict: false, unicodeRegExp: true });
  addFormats.default(ajv);
  const validate: ValidateFunction = ajv.compile(schema);
  return {
    id: String(schema.$id),
    problems: (document) =>
      validate(document)
        ? []
        : (validate.errors ?? []).map(
            ({ instancePath, message, params }) => `${instancePath}: ${message} ${JSON.stringify(params)}`,
          ),
  };
}
