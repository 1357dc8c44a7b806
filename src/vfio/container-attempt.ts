import { type Attempt, type AttemptRefusal, hull, type PageRange } from '../memory/index.ts';
import { formatRefusal, type Refusal } from './refusal.ts';
import type { SectionMapper } from './section-mapper.ts';

/** What has to be looked at again behind a mapper: a hull of what was refused; undefined for all of it. */
type Missing = PageRange | undefined;

/** A container's part in an attempt: what was refused meanwhile, and by whom it was asked for. */
export class ContainerAttempt implements Attempt {
  readonly #refusals: AttemptRefusal[] = [];
  readonly #missing: Map<SectionMapper, Missing> = new Map();
  readonly #over: (missing: ReadonlyMap<SectionMapper, Missing>) => void;
  #ended = false;

  /** `over` is called once, when the attempt ends. */
  constructor(over: (missing: ReadonlyMap<SectionMapper, Missing>) => void) {
    this.#over = over;
  }

  get refusals(): readonly AttemptRefusal[] {
    return this.#refusals;
  }

  /** Sets a refusal aside; without a mapper nothing is missing because of it any more. */
  note(refusal: Refusal, mapper: SectionMapper | undefined): void {
    const { mapping } = refusal;
    const range =
      mapping === undefined ? undefined : { start: mapping.iova, end: mapping.iova + mapping.pages };
    this.#refusals.push({ range, reason: formatRefusal(refusal) });
    if (mapper === undefined) return;
    const before = this.#missing.get(mapper);
    const whole = this.#missing.has(mapper) && before === undefined;
    this.#missing.set(mapper, whole || range === undefined ? undefined : hull(before ?? range, range));
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#over(this.#missing);
  }
}
