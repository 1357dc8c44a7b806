/** Root, context and PASID structures as a guest's driver writes them in its memory (VT-d 3.4, 9.1-9.6). @module */
import { formatRequesterId, type RequesterId } from '../../iommu/index.ts';
import { spec } from '../../models/vtd/index.ts';
import type { TablesPlace } from '../driver/domain.ts';
import { GuestDriverError } from '../driver/error.ts';
import type { DriverPages } from '../driver/pages.ts';

/** How a requester is translated, as an entry says it. */
export interface Translation {
  /** Domain identifier. */
  readonly domain: number;
  /** Second-stage tables; undefined for pass-through. */
  readonly tables: TablesPlace | undefined;
}

/** A word of a page. */
interface Place {
  readonly page: number;
  readonly index: number;
}

/** PDTS 2: 512 directory entries, one page, PASIDs up to 32,767: what Linux makes for a device. */
const PDTS = 2;
/** PASIDs that such a directory has room for. */
export const PASID_LIMIT: number = spec.pasidDirectoryEntries(PDTS) * spec.PASID_TABLE_ENTRIES;

/** The root table and what hangs from it, in legacy or in scalable mode. Nothing here tells the unit. */
export class RemappingStructures {
  readonly root: number;
  readonly scalable: boolean;
  readonly #pages: DriverPages;
  readonly #capability: spec.Capability;

  /** The structures under the root table at page `root`, which may hold entries of a guest that ran before. */
  constructor(pages: DriverPages, capability: spec.Capability, root: number, scalable: boolean) {
    this.#pages = pages;
    this.#capability = capability;
    this.root = root;
    this.scalable = scalable;
  }

  /**
   * How requests of `requester` with `pasid` (0 stands for those without) are translated; undefined when no entry
   * says it.
   *
   * @throws GuestDriverError `unsupported` for first-stage and nested translation, and for contents that no guest writes
   */
  translation(requester: RequesterId, pasid: number): Translation | undefined {
    const entry = this.#entry(requester, pasid);
    if (entry === undefined) return undefined;
    const levels = spec.levelsOf(entry.aw, this.#capability.SAGAW);
    if (entry.passThrough) return { domain: entry.domain, tables: undefined };
    if (!entry.secondStage || levels === 0) {
      throw new GuestDriverError(
        'unsupported',
        `${formatRequesterId(requester)} is not translated by second-stage tables of a width that the unit offers; ` +
          'this driver writes no others',
      );
    }
    return { domain: entry.domain, tables: { root: entry.root, levels } };
  }

  /** Identifier of what translates requests of `requester` without PASID, of whatever kind it is. */
  domainId(requester: RequesterId): number | undefined {
    return this.#entry(requester, 0)?.domain;
  }

  /** Requesters that have a present context entry, ascending. */
  *requesters(): Generator<RequesterId, void, undefined> {
    for (let bus = 0; bus < 256; bus++) {
      for (const half of this.scalable ? [0, 1] : [0]) {
        const devices = this.scalable ? 128 : 256;
        const table = this.#tableAt({ page: this.root, index: bus * spec.ROOT_ENTRY_WORDS + half * 2 });
        if (table === undefined) continue;
        const words = this.scalable ? spec.SM_CONTEXT_ENTRY_WORDS : spec.CONTEXT_ENTRY_WORDS;
        for (let i = 0; i < devices; i++) {
          const [lo = 0] = this.#pages.read(table, i * words, 1);
          if ((lo & spec.ENTRY_P) !== 0) yield (bus << 8) | (half * 128 + i);
        }
      }
    }
  }

  /**
   * Makes the scalable-mode context entry of `requester` with its PASID directory where there is none, and lets it send
   * PASIDs when `pasids` is set.
   *
   * @returns whether the context entry changed
   */
  prepareContext(requester: RequesterId, pasids: boolean): boolean {
    const place = this.#smContextEntry(requester, true) as Place;
    const words = this.#pages.read(place.page, place.index, spec.SM_CONTEXT_ENTRY_WORDS);
    const { P, PASIDE, PDTS: size, PASIDDIRPTR } = spec.SM_CONTEXT_ENTRY.fields;
    const present = spec.readField(words, P) === 1;
    if (present && (!pasids || spec.readField(words, PASIDE) === 1)) return false;
    if (!present) {
      words.fill(0);
      spec.writeField(words, P, 1);
      spec.writeField(words, size, PDTS);
      spec.writeField(words, PASIDDIRPTR, this.#pages.allocate());
    }
    if (pasids) spec.writeField(words, PASIDE, 1);
    this.#pages.write(place.page, place.index, words);
    return true;
  }

  /** Writes the entry that says how `requester` (with `pasid`) is translated; scalable mode needs `prepareContext` first. */
  set(requester: RequesterId, pasid: number, translation: Translation): void {
    if (this.scalable) {
      const place = this.#pasidEntry(requester, pasid, true) as Place;
      this.#pages.write(place.page, place.index, this.#encodePasidEntry(translation));
    } else {
      const place = this.#contextEntry(requester, pasid, true) as Place;
      this.#pages.write(place.page, place.index, this.#encodeContextEntry(translation));
    }
  }

  /** Clears that entry. Directories and tables of PASIDs stay. */
  clear(requester: RequesterId, pasid: number): void {
    const place = this.scalable ? this.#pasidEntry(requester, pasid) : this.#contextEntry(requester, pasid);
    if (place === undefined) return;
    const words = this.scalable ? spec.PASID_TABLE_ENTRY_WORDS : spec.CONTEXT_ENTRY_WORDS;
    // The present bit goes first, so that no half-cleared entry is ever valid.
    this.#pages.write(place.page, place.index, [0]);
    this.#pages.write(place.page, place.index, new Array<number>(words).fill(0));
  }

  #entry(requester: RequesterId, pasid: number): DecodedEntry | undefined {
    const place = this.scalable ? this.#pasidEntry(requester, pasid) : this.#contextEntry(requester, pasid);
    if (place === undefined) return undefined;
    const count = this.scalable ? spec.PASID_TABLE_ENTRY_WORDS : spec.CONTEXT_ENTRY_WORDS;
    const words = this.#pages.read(place.page, place.index, count);
    if (((words[0] ?? 0) & spec.ENTRY_P) === 0) return undefined;
    return this.scalable ? decodePasidEntry(words) : decodeContextEntry(words);
  }

  /** AW of an entry: pass-through names the widest that the unit offers (VT-d 9.3). */
  #aw({ tables }: Translation): number {
    return tables === undefined ? spec.largestAddressWidth(this.#capability.SAGAW) : tables.levels - 2;
  }

  #encodeContextEntry(translation: Translation): number[] {
    const words = new Array<number>(spec.CONTEXT_ENTRY_WORDS).fill(0);
    const { P, TT, SSPTPTR, AW, DID } = spec.CONTEXT_ENTRY.fields;
    spec.writeField(words, P, 1);
    spec.writeField(
      words,
      TT,
      translation.tables === undefined ? spec.TT_PASS_THROUGH : spec.TT_UNTRANSLATED,
    );
    spec.writeField(words, SSPTPTR, translation.tables?.root ?? 0);
    spec.writeField(words, AW, this.#aw(translation));
    spec.writeField(words, DID, translation.domain);
    return words;
  }

  #encodePasidEntry(translation: Translation): number[] {
    const words = new Array<number>(spec.PASID_TABLE_ENTRY_WORDS).fill(0);
    const { P, AW, PGTT, SSPTPTR, DID, PWSNP } = spec.PASID_TABLE_ENTRY.fields;
    const passThrough = translation.tables === undefined;
    spec.writeField(words, P, 1);
    spec.writeField(words, AW, this.#aw(translation));
    spec.writeField(words, PGTT, passThrough ? spec.PGTT_PASS_THROUGH : spec.PGTT_SECOND_STAGE);
    spec.writeField(words, SSPTPTR, translation.tables?.root ?? 0);
    spec.writeField(words, DID, translation.domain);
    spec.writeField(words, PWSNP, this.#capability.SMPWCS ? 1 : 0);
    return words;
  }

  #contextEntry(requester: RequesterId, pasid: number, make = false): Place | undefined {
    if (pasid !== 0) {
      throw new GuestDriverError(
        'bad-argument',
        'legacy mode has no PASIDs; boot the guest in scalable mode',
      );
    }
    const root = { page: this.root, index: (requester >> 8) * spec.ROOT_ENTRY_WORDS };
    const page = this.#tableAt(root, make);
    return page === undefined ? undefined : { page, index: (requester & 0xff) * spec.CONTEXT_ENTRY_WORDS };
  }

  #smContextEntry(requester: RequesterId, make = false): Place | undefined {
    const half = (requester & 0x80) === 0 ? 0 : 2;
    const root = { page: this.root, index: (requester >> 8) * spec.ROOT_ENTRY_WORDS + half };
    const page = this.#tableAt(root, make);
    return page === undefined ? undefined : { page, index: (requester & 0x7f) * spec.SM_CONTEXT_ENTRY_WORDS };
  }

  #pasidEntry(requester: RequesterId, pasid: number, make = false): Place | undefined {
    const context = this.#smContextEntry(requester);
    if (context === undefined) return undefined;
    const words = this.#pages.read(context.page, context.index, spec.SM_CONTEXT_ENTRY_WORDS);
    const field = spec.SM_CONTEXT_ENTRY.fields;
    if (spec.readField(words, field.P) === 0) return undefined;
    // Requests without PASID use RID_PASID where the unit has it (VT-d 9.4).
    const used = pasid === 0 && this.#capability.RPS ? spec.readField(words, field.RID_PASID) : pasid;
    const index = Math.floor(used / spec.PASID_TABLE_ENTRIES);
    if (index >= spec.pasidDirectoryEntries(spec.readField(words, field.PDTS))) return undefined;
    const word = index * spec.PASID_DIRECTORY_ENTRY_WORDS;
    const directory = {
      page: spec.readField(words, field.PASIDDIRPTR) + Math.floor(word / 1024),
      index: word % 1024,
    };
    const page = this.#tableAt(directory, make);
    if (page === undefined) return undefined;
    return { page, index: (used % spec.PASID_TABLE_ENTRIES) * spec.PASID_TABLE_ENTRY_WORDS };
  }

  /**
   * The table that the two words at `place` point at: a half of a root entry and a PASID-directory entry alike are a
   * present bit and a page. `make` gives them one when they have none.
   */
  #tableAt(place: Place, make = false): number | undefined {
    const [lo = 0, hi = 0] = this.#pages.read(place.page, place.index, 2);
    if ((lo & spec.ENTRY_P) !== 0) return spec.pageOf(lo, hi);
    if (!make) return undefined;
    const page = this.#pages.allocate();
    this.#pages.write(place.page, place.index, [
      ((page << 12) | spec.ENTRY_P) >>> 0,
      Math.floor(page / 0x100000),
    ]);
    return page;
  }
}

interface DecodedEntry {
  readonly domain: number;
  readonly aw: number;
  readonly root: number;
  readonly passThrough: boolean;
  readonly secondStage: boolean;
}

function decodeContextEntry(words: readonly number[]): DecodedEntry {
  const field = spec.CONTEXT_ENTRY.fields;
  const type = spec.readField(words, field.TT);
  return {
    domain: spec.readField(words, field.DID),
    aw: spec.readField(words, field.AW),
    root: spec.readField(words, field.SSPTPTR),
    passThrough: type === spec.TT_PASS_THROUGH,
    secondStage: type === spec.TT_UNTRANSLATED || type === spec.TT_DEVICE_TLB,
  };
}

function decodePasidEntry(words: readonly number[]): DecodedEntry {
  const field = spec.PASID_TABLE_ENTRY.fields;
  const type = spec.readField(words, field.PGTT);
  return {
    domain: spec.readField(words, field.DID),
    aw: spec.readField(words, field.AW),
    root: spec.readField(words, field.SSPTPTR),
    passThrough: type === spec.PGTT_PASS_THROUGH,
    secondStage: type === spec.PGTT_SECOND_STAGE,
  };
}
