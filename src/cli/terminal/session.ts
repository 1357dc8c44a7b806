import type { ExitCode } from './exit-codes.ts';
import type { CommandIo } from './io.ts';

/** One run of the command: where it writes, and what it ends with. */
export interface Session {
  readonly io: CommandIo;
  exitCode: ExitCode;
}

/** Remarks on standard error while standard output carries data; after `limit` lines they are only counted. */
export class Remarks {
  readonly #io: CommandIo;
  readonly #limit: number;
  #lines = 0;

  constructor(io: CommandIo, limit = 100) {
    this.#io = io;
    this.#limit = limit;
  }

  /** One remark; further lines are indented below it by the caller. */
  add(...lines: readonly string[]): void {
    lines.forEach((line, i) => {
      if (this.#lines++ < this.#limit) this.#io.err(`${i === 0 ? 'viommu: ' : ''}${line}\n`);
    });
  }

  /** Says how many lines were left out. */
  end(): void {
    const left = this.#lines - this.#limit;
    if (left > 0) this.#io.err(`viommu: ${left} further lines of remarks are left out\n`);
  }
}
