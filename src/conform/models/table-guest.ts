import { type Completion, type GuestDomain, type GuestDriver, GuestDriverError } from '../../guests/index.ts';
import type { RequesterId } from '../../iommu/index.ts';
import type { GuestSide } from '../guest-side.ts';
import { REQUESTERS } from '../requesters.ts';
import type { GuestStep } from '../scenario.ts';
import { accessOfText, addressOfText, pagesOfText } from '../text.ts';

/** What one of the tables' entries becomes. */
export type EntryStep = Extract<GuestStep, { do: 'entry' }>;
/** What is invalidated. */
export type InvalidateStep = Extract<GuestStep, { do: 'invalidate' }>;
/** The two words of an entry. */
export type EntryWords = readonly [lo: number, hi: number];

/** A guest of an IOMMU with tables: what it does alike, whatever their format. */
export abstract class TableGuest<Driver extends GuestDriver> implements GuestSide {
  protected readonly driver: Driver;
  readonly #domains: Map<string, GuestDomain> = new Map();

  constructor(driver: Driver) {
    this.driver = driver;
  }

  abstract boot(): Promise<void>;
  abstract faults(): Promise<readonly string[]>;

  /** A domain with tables of `levels` levels, or one that passes through. */
  protected abstract newDomain(levels: number, passThrough: boolean): GuestDomain;
  protected abstract attach(
    requester: RequesterId,
    domain: GuestDomain,
    silent: boolean,
  ): void | Promise<void>;
  protected abstract detach(requester: RequesterId, silent: boolean): void | Promise<void>;
  protected abstract switch(
    requester: RequesterId,
    domain: GuestDomain,
    silent: boolean,
  ): void | Promise<void>;
  protected abstract invalidate(step: InvalidateStep): void | Promise<void>;
  protected abstract setTranslation(on: boolean): void | Promise<void>;
  /** An entry of `level` that names a table of level `next`, or a leaf. */
  protected abstract tableEntry(page: number, next: number): EntryWords;
  protected abstract leafEntry(target: number, access: number, pages: number, level: number): EntryWords;

  /** Puts the words of an entry into the queue, and waits for the unit. */
  protected abstract submit(words: readonly number[]): Completion;
  /** Sets a unit going again that stopped at an entry of its queue. */
  protected abstract recover(): Completion;

  /** What only this kind of guest does. */
  protected async special(step: GuestStep): Promise<string> {
    return Promise.reject(new Error(`a guest of this IOMMU has no step '${step.do}'`));
  }

  async take(step: GuestStep): Promise<string> {
    switch (step.do) {
      case 'domain':
        this.#domains.set(step.name, this.newDomain(step.levels ?? 4, step.kind === 'pass-through'));
        break;
      case 'attach':
        await this.attach(REQUESTERS[step.who], this.domain(step.domain), step.tell === false);
        break;
      case 'detach':
        await this.detach(REQUESTERS[step.who], step.tell === false);
        break;
      case 'switch':
        await this.switch(REQUESTERS[step.who], this.domain(step.domain), step.tell === false);
        break;
      case 'map': {
        const leaf = step.leaf === undefined ? {} : { leafPages: pagesOfText(step.leaf) };
        const [iova, pages, target] = [pagesOfText(step.iova), pagesOfText(step.size), pagesOfText(step.to)];
        const access = accessOfText(step.access);
        await this.driver.map(this.domain(step.domain), iova, pages, target, access, leaf);
        break;
      }
      case 'unmap':
        await this.driver.unmap(this.domain(step.domain), pagesOfText(step.iova), pagesOfText(step.size));
        break;
      case 'remap': {
        const [iova, pages] = [pagesOfText(step.iova), pagesOfText(step.size)];
        const target = step.to === undefined ? undefined : pagesOfText(step.to);
        await this.driver.remap(this.domain(step.domain), iova, pages, accessOfText(step.access), target);
        break;
      }
      case 'entry':
        this.#writeEntry(step);
        break;
      case 'invalidate':
        await this.invalidate(step);
        break;
      case 'translation':
        await this.setTranslation(step.on);
        break;
      case 'request':
        return this.#request(step.bytes);
      default:
        return this.special(step);
    }
    return 'done';
  }

  async #request(bytes: string): Promise<string> {
    const entry = Buffer.from(bytes, 'hex');
    const words = Array.from({ length: entry.length / 4 }, (_, i) => entry.readUInt32LE(i * 4));
    try {
      await this.submit(words);
      return 'done';
    } catch (error) {
      if (!(error instanceof GuestDriverError) || error.code !== 'queue-error') throw error;
      await this.recover();
      return 'refused';
    }
  }

  protected domain(name: string): GuestDomain {
    const domain = this.#domains.get(name);
    if (domain === undefined) throw new Error(`there is no domain '${name}'`);
    return domain;
  }

  /** A leaf of several entries stands in each of them. */
  #writeEntry(step: EntryStep): void {
    const iova = pagesOfText(step.iova);
    const { level } = step;
    const table = this.domain(step.domain).tables?.tableAt(iova, level);
    if (table === undefined) throw new Error(`there is no table of level ${level} at ${step.iova}`);
    const span = 512 ** (level - 1);
    const pages = step.is === 'leaf' && step.size !== undefined ? pagesOfText(step.size) : span;
    const [lo, hi] = this.#entryOf(step, pages);
    const first = Math.floor(iova / span) % 512;
    for (let i = 0; i < pages / span; i++) this.driver.writeEntry(table, first + i, lo, hi);
  }

  #entryOf(step: EntryStep, pages: number): EntryWords {
    switch (step.is) {
      case 'nothing':
        return [0, 0];
      case 'raw': {
        const bits = addressOfText(step.bits);
        return [Number(bits & 0xffff_ffffn), Number(bits >> 32n)];
      }
      case 'table':
        return this.tableEntry(this.driver.allocatePage(), step.next ?? step.level - 1);
      case 'leaf':
        return this.leafEntry(pagesOfText(step.to), accessOfText(step.access), pages, step.level);
    }
  }
}
