/** A time of which events are known to be missing. RFC 3339, half-open. */
export interface ReportGap {
  id: string;
  cluster: string;
  source: string;
  cause: string;
  since: string;
  until: string;
  /** At least so many; left out: nobody knows. */
  missing?: number;
}

/** `receiver down: 2026-03-01T10:00:00Z until 2026-03-01T10:05:00Z, at least 7 events` */
export function gapText({ cause, since, until, missing }: ReportGap): string {
  const count = missing === undefined ? '' : `, at least ${missing} ${missing === 1 ? 'event' : 'events'}`;
  return `${cause.replaceAll('_', ' ')}: ${since} until ${until}${count}`;
}
