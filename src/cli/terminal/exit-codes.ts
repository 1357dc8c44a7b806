/** What the exit status of every command means. */
export const ExitCode: {
  /** Done; what was compared is equal, what was asked for translates. */
  readonly Ok: 0;
  /** Done, and there is something to look at: a difference, a fault, a walk that was cut. */
  readonly Different: 1;
  /** Not done: the command line is wrong or an input cannot be read. */
  readonly Unusable: 2;
} = { Ok: 0, Different: 1, Unusable: 2 };

/** The values of {@link ExitCode}. */
export type ExitCode = 0 | 1 | 2;

/** What a person asked for makes no sense; the message says what, where, and the remedy. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'VIOMMU_USAGE';

  constructor(problem: string, remedy: string) {
    super(`${problem}; ${remedy}`);
  }
}
