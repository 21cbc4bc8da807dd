// biome-ignore lint/suspicious/noEmptyInterface: filled in by the read side
export interface Database {}
