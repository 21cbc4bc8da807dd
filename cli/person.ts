/** Someone as the API names them. */
export interface PersonItem {
  name?: string;
  email?: string;
  login?: string;
  kind?: string;
}

/** The shortest name that tells who it is. */
export function personText({ login, email, name }: PersonItem): string {
  return login ?? email ?? name ?? '';
}
