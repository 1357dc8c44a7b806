/** VT-d paging entries as a format of the shared radix walker: second stage (VT-d 9.8) and first stage (VT-d 9.7). @module */
import { type DecodedEntry, type PlainLeaf, TableFormat } from '../../iommu/index.ts';
import type { TranslationFault } from '../../memory/index.ts';
import { translationFault } from './fault.ts';
import * as spec from './spec/index.ts';

/** Which fault each thing that can be wrong with an entry gives; they differ by stage and mode. */
interface FaultCodes {
  readonly reservedBit: number;
  readonly topTableUnreadable: number;
  readonly lowerTableUnreadable: number;
}

/** Both stages share the place of address, R/P, W and PS; they differ in what must be set and what reserved. */
class PagingFormat extends TableFormat {
  readonly name: string;
  readonly presentMask: number;
  readonly accessInHi = false;
  readonly accessShift = 0;
  readonly addressMaskHi: number = spec.SS_PAGE_HI;
  readonly plainLeaves: readonly (PlainLeaf | undefined)[];
  readonly #reserved: spec.PagingReserved;
  readonly #topLevel: number;
  readonly #codes: FaultCodes;
  /** Bits without which a user request may not use an entry. */
  readonly #required: number;

  constructor(
    name: string,
    presentMask: number,
    required: number,
    topLevel: number,
    reserved: spec.PagingReserved,
    codes: FaultCodes,
  ) {
    super();
    this.name = name;
    this.presentMask = presentMask;
    this.#required = required;
    this.#topLevel = topLevel;
    this.#reserved = reserved;
    this.#codes = codes;
    this.plainLeaves = [1, 2, 3].reduce<(PlainLeaf | undefined)[]>(
      (leaves, level) => [...leaves, this.#plainLeaf(level)],
      [undefined],
    );
  }

  override decode(lo: number, hi: number, level: number, into: DecodedEntry): void {
    if ((lo & this.presentMask) === 0) {
      into.notPresent();
      return;
    }
    const isLeaf = level === 1 || (level <= 3 && (lo & spec.SS_PS) !== 0);
    const { leafLo, leafHi, tableLo, tableHi } = this.#reserved;
    const reservedLo = (isLeaf ? leafLo : tableLo)[level] ?? 0;
    const reservedHi = (isLeaf ? leafHi : tableHi)[level] ?? 0;
    if ((lo & reservedLo) !== 0 || (hi & reservedHi) !== 0) {
      into.faulty(translationFault(this.#codes.reservedBit));
      return;
    }
    if ((lo & this.#required) !== this.#required) {
      into.faulty(translationFault(spec.SGN_2));
      return;
    }
    const page = spec.pageOf(lo, hi & this.addressMaskHi);
    if (!isLeaf) {
      into.table(page, level - 1, lo & 3);
      return;
    }
    const pages = this.span(level);
    into.leaf(Math.floor(page / pages) * pages, pages, lo & 3);
  }

  override outsideRam(level: number): TranslationFault {
    const { topTableUnreadable, lowerTableUnreadable } = this.#codes;
    return translationFault(level === this.#topLevel ? topTableUnreadable : lowerTableUnreadable);
  }

  /** The leaves that guests use: nothing reserved, and no address bit that stands for something else (PAT in bit 12). */
  #plainLeaf(level: number): PlainLeaf | undefined {
    const { leafLo, leafHi } = this.#reserved;
    const large = level > 1;
    const reservedLo = leafLo[level] ?? 0;
    if (large && (reservedLo & spec.SS_PS) !== 0) return undefined;
    const value = (large ? spec.SS_PS : 0) | this.#required;
    return {
      mask: (reservedLo | value | (large ? 0x1000 : 0)) >>> 0,
      value: value >>> 0,
      maskHi: leafHi[level] ?? 0,
    };
  }
}

/** Formats by unit: a walk of one page must not build its masks anew. */
const formats: WeakMap<spec.Capability, Map<number, TableFormat>> = new WeakMap();

/** `first` tells the stages apart, `variant` what else a format depends on. */
function keyOf(first: boolean, haw: number, levels: number, variant: boolean): number {
  return haw * 64 + levels * 4 + (first ? 2 : 0) + (variant ? 1 : 0);
}

function remembered(capability: spec.Capability, key: number, make: () => TableFormat): TableFormat {
  let ofUnit = formats.get(capability);
  if (ofUnit === undefined) {
    ofUnit = new Map();
    formats.set(capability, ofUnit);
  }
  let format = ofUnit.get(key);
  if (format === undefined) {
    format = make();
    ofUnit.set(key, format);
  }
  return format;
}

/** Second-stage tables of `levels` levels, for a unit with `capability` and host address width `haw`. */
export function secondStageFormat(
  capability: spec.Capability,
  haw: number,
  levels: number,
  scalable: boolean,
): TableFormat {
  return remembered(capability, keyOf(false, haw, levels, scalable), () => {
    // Device-TLBs gave bit 62 a meaning (TM) in the revisions that today's guests were written for.
    const reserved = spec.secondStageReserved({
      haw,
      SSLPS: capability.SSLPS,
      SC: capability.SC,
      TM: capability.DT,
    });
    const codes: FaultCodes = scalable
      ? { reservedBit: spec.SSS_3, topTableUnreadable: spec.SSS_4, lowerTableUnreadable: spec.SSS_1 }
      : { reservedBit: spec.LSS_2, topTableUnreadable: spec.LCT_4, lowerTableUnreadable: spec.LSS_1 };
    return new PagingFormat('VT-d second-stage', spec.SS_PRESENT, 0, levels, reserved, codes);
  });
}

/** First-stage tables of `levels` levels. When `nested`, the second stage judges the addresses in them. */
export function firstStageFormat(
  capability: spec.Capability,
  haw: number,
  levels: number,
  nested: boolean,
): TableFormat {
  return remembered(capability, keyOf(true, haw, levels, nested), () => {
    const reserved = spec.firstStageReserved({ haw: nested ? 52 : haw, FS1GP: capability.FS1GP });
    return new PagingFormat('VT-d first-stage', spec.FS_P, spec.FS_P | spec.FS_US, levels, reserved, {
      reservedBit: spec.SFS_3,
      topTableUnreadable: spec.SFS_4,
      lowerTableUnreadable: spec.SFS_1,
    });
  });
}
