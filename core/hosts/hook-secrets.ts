/** By what webhooks prove who sends them. Each list may hold the old secret beside the new one while it is replaced. */
export interface HookSecrets {
  github: string[];
  gitlab: string[];
  /** Senders of approvals and tickets by their names. */
  senders: Map<string, string[]>;
}

export const NO_HOOK_SECRETS: HookSecrets = { github: [], gitlab: [], senders: new Map() };

const SENDER = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const SHORTEST = 16;
const MOST = 4;

/**
 * Reads `{github: [SECRET], gitlab: [SECRET], senders: {NAME: [SECRET]}}`; one secret may stand without a list. No problem
 * repeats a secret.
 */
export function validateHookSecrets(value: unknown): { secrets: HookSecrets; problems: string[] } {
  const problems: string[] = [];
  const secrets: HookSecrets = { github: [], gitlab: [], senders: new Map() };
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { secrets, problems: ['expected github:, gitlab: and senders:'] };
  for (const [key, item] of Object.entries(value)) {
    if (key === 'github' || key === 'gitlab') secrets[key] = secretList(item, key, problems);
    else if (key !== 'senders')
      problems.push(`${key}: there is no such member; there are github, gitlab, senders`);
    else if (typeof item !== 'object' || item === null || Array.isArray(item))
      problems.push('senders: expected names, and secrets below each');
    else
      for (const [name, list] of Object.entries(item)) {
        if (!SENDER.test(name))
          problems.push(`senders.${name}: expected a name of lower-case letters, digits and -`);
        secrets.senders.set(name, secretList(list, `senders.${name}`, problems));
      }
  }
  return { secrets, problems };
}

function secretList(value: unknown, path: string, problems: string[]): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (list.length === 0 || list.length > MOST) problems.push(`${path}: expected 1 to ${MOST} secrets`);
  return list.flatMap((secret, i) => {
    if (typeof secret !== 'string' || secret.trim() !== secret || secret.length < SHORTEST) {
      problems.push(
        `${path}[${i}]: expected a text of at least ${SHORTEST} characters, without spaces around it`,
      );
      return [];
    }
    if (secret.startsWith('whsec_') && !/^whsec_[A-Za-z0-9+/]{16,}={0,2}$/.test(secret)) {
      problems.push(`${path}[${i}]: after whsec_ expected base64`);
      return [];
    }
    return [secret];
  });
}
