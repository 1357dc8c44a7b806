/** What a worker process measures. */
export interface Variant {
  /** Makes what the next `times` runs use up; not measured. */
  prepare?(times: number): void | Promise<void>;
  /** Does the work `times` times over; returns the units (leaves, pages, operations) that were handled. */
  run(times: number): number | Promise<number>;
  /** What one time over yields. Contenders that do the same work must agree on it. */
  check(): string;
  /** Figures beside the time, such as table entries read. */
  facts?(): Readonly<Record<string, number>>;
}

/** What a worker sends back for each line that it was sent. */
export interface Measurement {
  /** Elapsed time and processor time of the whole process, garbage collection included, in nanoseconds. */
  readonly wall: number;
  readonly cpu: number;
  readonly units: number;
  readonly check: string;
  readonly facts?: Readonly<Record<string, number>>;
}
