import type { Completion, GuestDomain, VtdGuestDriver } from '../../guests/index.ts';
import { formatRequesterId, type RequesterId } from '../../iommu/index.ts';
import { Access, type AddressSpace, PageCursor } from '../../memory/index.ts';
import { faultReason, lookupRequest, spec, VtdIommu } from '../../models/vtd/index.ts';
import { REQUESTERS } from '../requesters.ts';
import type { GuestStep } from '../scenario.ts';
import { pagesOfText, pageText } from '../text.ts';
import { type EntryWords, type InvalidateStep, TableGuest } from './table-guest.ts';

/** What the guest of a VT-d scenario works with. */
export interface VtdGuestParts {
  readonly driver: VtdGuestDriver;
  readonly memory: AddressSpace;
  readonly mode: 'legacy' | 'scalable';
  readonly read: (offset: number, bytes: 4 | 8) => Promise<bigint>;
  readonly write: (offset: number, value: bigint, bytes: 4 | 8) => Promise<void>;
}

/** A structure's words, to be changed in place. */
interface EditedStructure {
  readonly structure: string;
  readonly words: number[];
}

/** Bits that are reserved in word 0 of a context entry (VT-d 9.3) and of a PASID-table entry (VT-d 9.6). */
const CONTEXT_RESERVED = 1 << 4;
const PASID_RESERVED = 1 << 10;

/** Enough for every register that the capabilities of QEMU's unit place. */
const DUMP_BYTES = 0x230;

/** A guest of a VT-d unit. */
export class VtdGuest extends TableGuest<VtdGuestDriver> {
  readonly #parts: VtdGuestParts;

  constructor(parts: VtdGuestParts) {
    super(parts.driver);
    this.#parts = parts;
  }

  override async boot(): Promise<void> {
    await this.driver.boot({ mode: this.#parts.mode });
  }

  /** Reads and clears the Fault Recording registers (VT-d 7.2.1, 11.4.7). */
  override async faults(): Promise<readonly string[]> {
    const { read, write } = this.#parts;
    const { FRO, NFR } = this.driver.capability;
    const lines: string[] = [];
    for (let index = 0; index <= NFR; index++) {
      const offset = FRO * 16 + index * spec.FRCD_BYTES;
      // eslint-disable-next-line no-await-in-loop -- registers
      const halves = [await read(offset, 8), await read(offset + 8, 8)];
      const words = halves.flatMap((half) => [Number(half & 0xffff_ffffn), Number(half >> 32n)]);
      const record = spec.decodeFaultRecord(words);
      if (record === undefined) continue;
      const access = record.type === spec.REQUEST_WRITE ? 'w' : 'r';
      const reason = faultReason(record.FR)?.condition ?? `0x${record.FR.toString(16)}`;
      lines.push(`${formatRequesterId(record.SID)} ${access} ${pageText(record.page)} ${reason}`);
      // eslint-disable-next-line no-await-in-loop
      await write(offset + 12, 0x8000_0000n, 4);
    }
    await write(spec.FSTS_REG, BigInt(spec.FSTS_PFO), 4);
    return lines;
  }

  protected override newDomain(levels: number, passThrough: boolean): GuestDomain {
    if (passThrough) return this.driver.passThroughDomain();
    if (levels !== 3 && levels !== 4)
      throw new RangeError(`VT-d scenarios have 3 or 4 levels, not ${levels}`);
    return this.driver.createDomain({ levels });
  }

  protected override attach(
    requester: RequesterId,
    domain: GuestDomain,
    silent: boolean,
  ): void | Promise<void> {
    return this.driver.attachDevice(requester, domain, 0, { silent });
  }

  protected override detach(requester: RequesterId, silent: boolean): void | Promise<void> {
    return this.driver.detachDevice(requester, 0, { silent });
  }

  protected override switch(
    requester: RequesterId,
    domain: GuestDomain,
    silent: boolean,
  ): void | Promise<void> {
    return this.driver.switchDomain(requester, domain, 0, { silent });
  }

  protected override setTranslation(on: boolean): void | Promise<void> {
    return this.driver.setTranslation(on);
  }

  protected override async invalidate(step: InvalidateStep): Promise<void> {
    switch (step.what) {
      case 'pages': {
        const am = Math.log2(pagesOfText(step.size));
        const { id } = this.domain(step.domain);
        await this.driver.invalidateIotlb({ domain: id, iova: pagesOfText(step.iova), am });
        return;
      }
      case 'domain':
        await this.driver.invalidateIotlb({ domain: this.domain(step.domain).id });
        return;
      case 'all':
        await this.driver.invalidateIotlb('global');
        return;
      case 'structures':
        await this.driver.invalidateAll();
        return;
      case 'requester':
        throw new Error('VT-d scenarios invalidate structures all at once');
    }
  }

  protected override tableEntry(page: number): EntryWords {
    return entryWords(page, Access.ReadWrite);
  }

  /** VT-d 9.8. */
  protected override leafEntry(target: number, access: number, _pages: number, level: number): EntryWords {
    return entryWords(target, access | (level > 1 ? spec.SS_PS : 0));
  }

  protected override async special(step: GuestStep): Promise<string> {
    switch (step.do) {
      case 'first-stage':
        await this.#turnToFirstStage(REQUESTERS[step.who]);
        return 'done';
      case 'spoil':
        await this.#editStructure(REQUESTERS[step.who], ({ structure, words }) => {
          words[0]! |= structure === 'PASID-table entry' ? PASID_RESERVED : CONTEXT_RESERVED;
        });
        return 'done';
      default:
        return super.special(step);
    }
  }

  /** A descriptor of 256 bits fits scalable mode only. */
  protected override submit(words: readonly number[]): Completion {
    this.driver.submit(words);
    return this.driver.wait();
  }

  protected override recover(): Completion {
    this.driver.recover();
  }

  /** Rewrites the PASID-table entry of requests without PASID (VT-d 9.6) and invalidates everything. */
  async #turnToFirstStage(requester: RequesterId): Promise<void> {
    const root = this.driver.allocatePage();
    const { PGTT, FSPM, FSPTPTR } = spec.PASID_TABLE_ENTRY.fields;
    await this.#editStructure(requester, ({ words }) => {
      spec.writeField(words, PGTT, spec.PGTT_FIRST_STAGE);
      spec.writeField(words, FSPM, spec.FSPM_4_LEVEL);
      spec.writeField(words, FSPTPTR, root);
    });
    await this.driver.invalidateAll();
  }

  /** Rewrites the entry that says how requests of `requester` are translated: the last on the way to its tables. */
  async #editStructure(requester: RequesterId, edit: (entry: EditedStructure) => void): Promise<void> {
    const { memory } = this.#parts;
    const cursor = new PageCursor();
    const unit = VtdIommu.fromRegisters({ memory, bytes: await this.#dump() });
    const last = this.#parts.mode === 'scalable' ? 'PASID-table entry' : 'context entry';
    lookupRequest(unit, requester, undefined, ({ structure, table, offset, words }) => {
      if (structure !== last) return;
      const edited = [...words];
      edit({ structure, words: edited });
      if (memory.locate(table, cursor, true)) cursor.words.set(edited, cursor.base + offset / 4);
    });
  }

  /** The registers that say where structures are. */
  async #dump(): Promise<Uint8Array> {
    const dump = new DataView(new ArrayBuffer(DUMP_BYTES));
    for (let offset = 0; offset < DUMP_BYTES; offset += 8) {
      // eslint-disable-next-line no-await-in-loop -- registers
      dump.setBigUint64(offset, await this.#parts.read(offset, 8), true);
    }
    return new Uint8Array(dump.buffer);
  }
}

function entryWords(page: number, flags: number): EntryWords {
  return [((page % 2 ** 20) * 4096 + flags) >>> 0, Math.floor(page / 2 ** 20)];
}
