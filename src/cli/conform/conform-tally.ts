import type { Verdict } from '../../conform/index.ts';
import { plural } from '../terminal/text.ts';

/** Counts verdicts. */
export class ConformTally {
  readonly #kinds = { ok: 0, differs: 0, 'not-supported': 0, broken: 0 };
  #known = 0;

  count(verdict: Verdict): void {
    this.#kinds[verdict.kind]++;
    if (verdict.kind === 'differs' && verdict.known) this.#known++;
  }

  /** Whether nothing differs and nothing is broken. */
  get clean(): boolean {
    return this.#kinds.differs === 0 && this.#kinds.broken === 0;
  }

  /** One line for people. */
  summary(): string {
    const { ok, differs, broken } = this.#kinds;
    const unsupported = this.#kinds['not-supported'];
    const all = ok + differs + broken + unsupported;
    const known = this.#known === 0 ? '' : ` (${this.#known} as QEMU 11.1.3 was seen to)`;
    const rest = [
      broken === 0 ? '' : `, ${broken} could not be carried out`,
      unsupported === 0 ? '' : `, ${unsupported} not supported`,
    ].join('');
    return `\n${plural(all, 'scenario')}: ${ok} ok, ${differs} differ${known}${rest}\n`;
  }
}
