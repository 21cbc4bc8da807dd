const KEY = 'whochanged-token';

/**
 * The token that was pasted. It stays in this tab's session storage and goes out in a header, never in an address: an
 * address ends in histories, logs and postmortems.
 */
class Session {
  token = $state(sessionStorage.getItem(KEY) ?? '');
  /** Why the token that was there is gone. */
  ended = $state('');

  open(token: string): void {
    sessionStorage.setItem(KEY, token);
    this.token = token;
    this.ended = '';
  }

  close(reason: string): void {
    sessionStorage.removeItem(KEY);
    this.token = '';
    this.ended = reason;
  }
}

export const session = new Session();
