/** The device table as a guest's driver writes it in its memory (AMD-Vi 2.2.2). Nothing here tells the unit. @module */
import { formatRequesterId, type RequesterId } from '../../iommu/index.ts';
import { Access } from '../../memory/index.ts';
import { spec } from '../../models/amdvi/index.ts';
import type { TablesPlace } from '../driver/domain.ts';
import { GuestDriverError } from '../driver/error.ts';
import type { DriverPages } from '../driver/pages.ts';

/** How a requester is translated, as an entry says it. */
export interface DeviceTranslation {
  /** DomainID. */
  readonly domain: number;
  /** Tables; undefined for pass-through (Mode 0). */
  readonly tables: TablesPlace | undefined;
}

/** Where a device table lies. */
export interface DeviceTablePlace {
  /** First page. */
  readonly page: number;
  /** 1 to 512. */
  readonly pages: number;
}

/** A word of a page. */
interface Place {
  readonly page: number;
  readonly index: number;
}

const ENTRY = spec.DEVICE_TABLE_ENTRY.fields;

/** What of an entry is about translation; all else, about interrupts, is left as it is. */
const TRANSLATION_FIELDS = [
  ENTRY.V,
  ENTRY.TV,
  ENTRY.Mode,
  ENTRY.HostPageTableRootPtr,
  ENTRY.IR,
  ENTRY.IW,
  ENTRY.DomainID,
];

/** The device table, which may hold entries of a guest that ran before. */
export class DeviceTable {
  readonly place: DeviceTablePlace;
  readonly #pages: DriverPages;

  constructor(pages: DriverPages, place: DeviceTablePlace) {
    this.#pages = pages;
    this.place = place;
  }

  /** Makes every entry say that requests are blocked: an entry of zeros would let them pass. */
  blockAll(): void {
    for (let page = this.place.page; page < this.place.page + this.place.pages; page++) {
      const { words, base } = this.#pages.at(page);
      for (let i = 0; i < spec.DEVICE_TABLE_ENTRIES_A_PAGE; i++) {
        words[base + i * spec.DEVICE_TABLE_ENTRY_WORDS] = spec.DTE_V | spec.DTE_TV;
      }
    }
  }

  /**
   * How requests of `requester` are translated; undefined when its entry blocks them, says nothing about them (V or TV
   * clear), or is none.
   *
   * @throws GuestDriverError `unsupported` for guest translation, and for a Mode that no guest writes
   */
  translation(requester: RequesterId): DeviceTranslation | undefined {
    const place = this.#entry(requester);
    if (place === undefined) return undefined;
    const words = this.#pages.read(place.page, place.index, spec.DEVICE_TABLE_ENTRY_WORDS);
    if (!isTranslated(words)) return undefined;
    const levels = spec.readField(words, ENTRY.Mode);
    if (spec.readField(words, ENTRY.GV) === 1 || levels === spec.MODE_RESERVED) {
      throw new GuestDriverError(
        'unsupported',
        `${formatRequesterId(requester)} has guest translation or the reserved Mode; this driver writes host tables only`,
      );
    }
    const domain = spec.readField(words, ENTRY.DomainID);
    if (levels === spec.MODE_NO_TRANSLATION) return { domain, tables: undefined };
    return { domain, tables: { root: spec.readField(words, ENTRY.HostPageTableRootPtr), levels } };
  }

  /** DomainID of what translates requests of `requester`, of whatever kind it is. */
  domainId(requester: RequesterId): number | undefined {
    const place = this.#entry(requester);
    if (place === undefined) return undefined;
    const words = this.#pages.read(place.page, place.index, spec.DEVICE_TABLE_ENTRY_WORDS);
    return isTranslated(words) ? spec.readField(words, ENTRY.DomainID) : undefined;
  }

  /** Requesters whose entry translates or passes their requests, ascending. */
  *requesters(): Generator<RequesterId, void, undefined> {
    for (let page = 0; page < this.place.pages; page++) {
      for (let i = 0; i < spec.DEVICE_TABLE_ENTRIES_A_PAGE; i++) {
        const requester = page * spec.DEVICE_TABLE_ENTRIES_A_PAGE + i;
        const { words, base } = this.#pages.at(this.place.page + page);
        const valid = (words[base + i * spec.DEVICE_TABLE_ENTRY_WORDS]! & spec.DTE_V) !== 0;
        if (valid && this.domainId(requester) !== undefined) yield requester;
      }
    }
  }

  /** Says that requests of `requester` are translated so, with no more than `access`. */
  set(requester: RequesterId, { domain, tables }: DeviceTranslation, access: Access): void {
    this.#change(requester, (words) => {
      spec.writeField(words, ENTRY.V, 1);
      spec.writeField(words, ENTRY.TV, 1);
      spec.writeField(words, ENTRY.Mode, tables?.levels ?? spec.MODE_NO_TRANSLATION);
      spec.writeField(words, ENTRY.HostPageTableRootPtr, tables?.root ?? 0);
      spec.writeField(words, ENTRY.IR, (access & Access.Read) === 0 ? 0 : 1);
      spec.writeField(words, ENTRY.IW, (access & Access.Write) === 0 ? 0 : 1);
      spec.writeField(words, ENTRY.DomainID, domain);
    });
  }

  /** Says that requests of `requester` are blocked or, when `unchecked`, pass as they are (V clear). */
  clear(requester: RequesterId, unchecked: boolean): void {
    this.#change(requester, (words) => {
      if (unchecked) return;
      spec.writeField(words, ENTRY.V, 1);
      spec.writeField(words, ENTRY.TV, 1);
    });
  }

  /** The eight words of an entry. */
  read(requester: RequesterId): number[] {
    const { page, index } = this.#required(requester);
    return this.#pages.read(page, index, spec.DEVICE_TABLE_ENTRY_WORDS);
  }

  /** Writes an entry of any content, eight words. */
  write(requester: RequesterId, words: readonly number[]): void {
    const { page, index } = this.#required(requester);
    const entry = Array.from({ length: spec.DEVICE_TABLE_ENTRY_WORDS }, (_, i) => words[i] ?? 0);
    this.#pages.write(page, index, entry);
  }

  #change(requester: RequesterId, change: (words: number[]) => void): void {
    const { page, index } = this.#required(requester);
    const words = this.#pages.read(page, index, spec.DEVICE_TABLE_ENTRY_WORDS);
    for (const field of TRANSLATION_FIELDS) spec.writeField(words, field, 0);
    change(words);
    this.#pages.write(page, index, words);
  }

  #entry(requester: RequesterId): Place | undefined {
    const page = Math.floor(requester / spec.DEVICE_TABLE_ENTRIES_A_PAGE);
    if (page >= this.place.pages) return undefined;
    const index = (requester % spec.DEVICE_TABLE_ENTRIES_A_PAGE) * spec.DEVICE_TABLE_ENTRY_WORDS;
    return { page: this.place.page + page, index };
  }

  #required(requester: RequesterId): Place {
    const place = this.#entry(requester);
    if (place !== undefined) return place;
    const devices = this.place.pages * spec.DEVICE_TABLE_ENTRIES_A_PAGE;
    throw new GuestDriverError(
      'bad-argument',
      `${formatRequesterId(requester)} has no entry: the device table ends at ${formatRequesterId(devices - 1)}; boot ` +
        'with a larger one',
    );
  }
}

function isTranslated(words: readonly number[]): boolean {
  const valid = spec.readField(words, ENTRY.V) === 1 && spec.readField(words, ENTRY.TV) === 1;
  const blocked =
    spec.readField(words, ENTRY.Mode) === spec.MODE_NO_TRANSLATION &&
    spec.readField(words, ENTRY.IR) === 0 &&
    spec.readField(words, ENTRY.IW) === 0;
  return valid && !blocked;
}
