import type { AmdviEvent, AmdviGuestDriver, AmdviMode, Completion, GuestDomain } from '../../guests/index.ts';
import { formatRequesterId, type RequesterId } from '../../iommu/index.ts';
import { Access, formatAddress } from '../../memory/index.ts';
import { spec } from '../../models/amdvi/index.ts';
import { REQUESTERS } from '../requesters.ts';
import type { GuestStep } from '../scenario.ts';
import { pagesOfText } from '../text.ts';
import { type EntryWords, type InvalidateStep, TableGuest } from './table-guest.ts';

/** A bit that is reserved in word 0 of a device table entry (AMD-Vi 2.2.2.1). */
const RESERVED = 1 << 2;

/** A guest of an AMD-Vi unit. */
export class AmdviGuest extends TableGuest<AmdviGuestDriver> {
  readonly #settled: () => void | Promise<void>;

  /** `settled` makes what the driver reads of the registers up to date. */
  constructor(driver: AmdviGuestDriver, settled: () => void | Promise<void>) {
    super(driver);
    this.#settled = settled;
  }

  override async boot(): Promise<void> {
    await this.driver.boot();
  }

  override async faults(): Promise<readonly string[]> {
    await this.#settled();
    const lines = this.driver.events().map(eventText);
    await this.#settled();
    return lines;
  }

  protected override newDomain(levels: number, passThrough: boolean): GuestDomain {
    if (passThrough) return this.driver.passThroughDomain();
    if (![1, 2, 3, 4, 5, 6].includes(levels)) throw new RangeError(`AMD-Vi has modes 1 to 6, not ${levels}`);
    return this.driver.createDomain({ mode: levels as AmdviMode });
  }

  protected override attach(
    requester: RequesterId,
    domain: GuestDomain,
    silent: boolean,
  ): void | Promise<void> {
    return this.driver.attachDevice(requester, domain, { silent });
  }

  protected override detach(requester: RequesterId, silent: boolean): void | Promise<void> {
    return this.driver.detachDevice(requester, { silent });
  }

  protected override switch(
    requester: RequesterId,
    domain: GuestDomain,
    silent: boolean,
  ): void | Promise<void> {
    return this.driver.switchDomain(requester, domain, { silent });
  }

  protected override async special(step: GuestStep): Promise<string> {
    if (step.do !== 'spoil') return super.special(step);
    const [first = 0, ...rest] = this.driver.readDeviceTableEntry(REQUESTERS[step.who]);
    this.driver.writeDeviceTableEntry(REQUESTERS[step.who], [first | RESERVED, ...rest]);
    return 'done';
  }

  protected override submit(words: readonly number[]): Completion {
    this.driver.submit(words);
    return this.driver.wait();
  }

  protected override recover(): Completion {
    return this.driver.recover();
  }

  protected override setTranslation(on: boolean): void | Promise<void> {
    return this.driver.setTranslation(on);
  }

  protected override async invalidate(step: InvalidateStep): Promise<void> {
    switch (step.what) {
      case 'pages': {
        const start = pagesOfText(step.iova);
        const range = { start, end: start + pagesOfText(step.size) };
        await this.driver.invalidatePages(this.domain(step.domain), range);
        return;
      }
      case 'domain':
        await this.driver.invalidatePages(this.domain(step.domain), 'whole');
        return;
      case 'requester':
        await this.driver.invalidateDeviceTableEntry(REQUESTERS[step.who]);
        return;
      case 'all':
      case 'structures':
        await this.driver.invalidateAll();
        return;
    }
  }

  protected override tableEntry(page: number, next: number): EntryWords {
    return entryWords(page, next, Access.ReadWrite);
  }

  /** AMD-Vi 2.2.3: a size other than the level's is encoded in the address, with NextLevel 7. */
  protected override leafEntry(target: number, access: number, pages: number, level: number): EntryWords {
    const sized = pages !== 512 ** (level - 1);
    const address = sized ? spec.encodePages(target, pages) : target;
    return entryWords(address, sized ? spec.NEXT_LEVEL_SIZED : spec.NEXT_LEVEL_PAGE, access);
  }
}

function entryWords(page: number, next: number, access: number): EntryWords {
  const lo = (page % 2 ** 20) * 4096 + next * 2 ** spec.PTE_NEXT_LEVEL_SHIFT + spec.PTE_PR;
  return [lo, Math.floor(page / 2 ** 20) + access * 2 ** spec.PTE_ACCESS_SHIFT_HI];
}

/** `REQUESTER ACCESS ADDRESS EVENT`. */
function eventText({ code, requester, isWrite, address }: AmdviEvent): string {
  const name = spec.EVENT_NAMES[code] ?? `0x${code.toString(16)}`;
  return `${formatRequesterId(requester)} ${isWrite ? 'w' : 'r'} ${formatAddress(address)} ${name}`;
}
