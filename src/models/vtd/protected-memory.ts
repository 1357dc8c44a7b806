import type { RequesterSpaces, Work } from '../../iommu/index.ts';
import type { PageRange } from '../../memory/index.ts';
import type { RegisterFile } from '../register-file.ts';
import type { RequesterSpace } from './requester-space.ts';
import * as spec from './spec/index.ts';

/** Pages of the regions that the registers describe; a region whose limit lies below its base is off (VT-d 11.4.8). */
export function protectedRanges(registers: RegisterFile, capability: spec.Capability): readonly PageRange[] {
  const granule = 2 ** (spec.PMR_ALIGN_SHIFT - 12);
  const range = (base: number, limit: number, words: number): PageRange => {
    const page = (at: number): number =>
      spec.pageOf(registers.get(at), words === 2 ? registers.get(at + 4) : 0);
    // Bits below the alignment count as zeros in a base and as ones in a limit.
    return { start: page(base), end: page(limit) + granule };
  };
  const ranges: PageRange[] = [];
  if (capability.PLMR) ranges.push(range(spec.PLMBASE_REG, spec.PLMLIMIT_REG, 1));
  if (capability.PHMR) ranges.push(range(spec.PHMBASE_REG, spec.PHMLIMIT_REG, 2));
  return ranges.filter(({ start, end }) => start < end);
}

/** PMEN_REG: protected memory on and off (VT-d 11.4.8.1). The regions are those of the moment at which it is turned on. */
export class ProtectedMemory implements Work {
  readonly #registers: RegisterFile;
  readonly #capability: spec.Capability;
  readonly #spaces: RequesterSpaces<RequesterSpace>;
  #ranges: readonly PageRange[] = [];
  #on = false;
  #stale = false;

  constructor(registers: RegisterFile, capability: spec.Capability, spaces: RequesterSpaces<RequesterSpace>) {
    this.#registers = registers;
    this.#capability = capability;
    this.#spaces = spaces;
  }

  /** Pages that are protected now. */
  get ranges(): readonly PageRange[] {
    return this.#ranges;
  }

  start(): void | Promise<void> {
    const wanted = (this.#registers.get(spec.PMEN_REG) & spec.PMEN_EPM) !== 0;
    if (wanted === this.#on && !this.#stale) return;
    this.#on = wanted;
    this.#stale = false;
    this.#ranges = wanted ? protectedRanges(this.#registers, this.#capability) : [];
    return this.#spaces.change((space) => space.setProtected(this.#ranges));
  }

  complete(): void {
    if (this.#on) this.#registers.raise(spec.PMEN_REG, spec.PMEN_PRS);
    else this.#registers.clear(spec.PMEN_REG, spec.PMEN_PRS);
  }

  /** The registers were written from outside: the next {@link start} takes up whatever regions they describe. */
  renew(): void {
    this.#stale = true;
  }
}
