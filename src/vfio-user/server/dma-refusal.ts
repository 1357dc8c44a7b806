/** Why something was not done with guest memory. */
export interface DmaRefusal {
  /** One of `Errno`. */
  readonly errno: number;
  /** One sentence without its full stop: what is wrong and what would help. */
  readonly reason: string;
}
