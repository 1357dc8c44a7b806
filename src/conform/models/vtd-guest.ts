import type { GuestDomain, VtdGuestDriver } from '../../guests/index.ts';
import { formatRequesterId, type RequesterId } from '../../iommu/index.ts';
import { Access, type AddressSpace, PageCursor } from '../../memory/index.ts';
import { faultReason, lookupRequest, spec, VtdIommu } from '../../models/vtd/index.ts';
import type { GuestSide } from '../guest-side.ts';
import { REQUESTERS } from '../requesters.ts';
import type { GuestStep } from '../scenario.ts';
import { accessOfText, addressOfText, pagesOfText, pageText } from '../text.ts';

/** What the guest of a VT-d scenario works with. */
export interface VtdGuestParts {
  readonly driver: VtdGuestDriver;
  readonly memory: AddressSpace;
  readonly mode: 'legacy' | 'scalable';
  readonly read: (offset: number, bytes: 4 | 8) => Promise<bigint>;
  readonly write: (offset: number, value: bigint, bytes: 4 | 8) => Promise<void>;
}

type EntryStep = Extract<GuestStep, { do: 'entry' }>;
type InvalidateStep = Extract<GuestStep, { do: 'invalidate' }>;

/** A guest of a VT-d unit. */
export class VtdGuestSide implements GuestSide {
  readonly #parts: VtdGuestParts;
  readonly #domains: Map<string, GuestDomain> = new Map();

  constructor(parts: VtdGuestParts) {
    this.#parts = parts;
  }

  async boot(): Promise<void> {
    await this.#parts.driver.boot({ mode: this.#parts.mode });
  }

  async take(step: GuestStep): Promise<string> {
    const { driver } = this.#parts;
    switch (step.do) {
      case 'domain':
        this.#domains.set(step.name, this.#newDomain(step));
        break;
      case 'attach':
        await driver.attachDevice(REQUESTERS[step.who], this.#domain(step.domain));
        break;
      case 'detach':
        await driver.detachDevice(REQUESTERS[step.who]);
        break;
      case 'switch':
        await driver.switchDomain(REQUESTERS[step.who], this.#domain(step.domain));
        break;
      case 'map': {
        const leaf = step.leaf === undefined ? {} : { leafPages: pagesOfText(step.leaf) };
        const [iova, pages, target] = [pagesOfText(step.iova), pagesOfText(step.size), pagesOfText(step.to)];
        await driver.map(this.#domain(step.domain), iova, pages, target, accessOfText(step.access), leaf);
        break;
      }
      case 'unmap':
        await driver.unmap(this.#domain(step.domain), pagesOfText(step.iova), pagesOfText(step.size));
        break;
      case 'remap': {
        const [iova, pages] = [pagesOfText(step.iova), pagesOfText(step.size)];
        const target = step.to === undefined ? undefined : pagesOfText(step.to);
        await driver.remap(this.#domain(step.domain), iova, pages, accessOfText(step.access), target);
        break;
      }
      case 'entry':
        this.#writeEntry(step);
        break;
      case 'invalidate':
        await this.#invalidate(step);
        break;
      case 'translation':
        await driver.setTranslation(step.on);
        break;
      case 'first-stage':
        await this.#turnToFirstStage(REQUESTERS[step.who]);
        break;
      default:
        throw new Error(`a VT-d guest has no step '${step.do}'`);
    }
    return 'done';
  }

  /** Reads and clears the Fault Recording registers (VT-d 7.2.1, 11.4.7). */
  async faults(): Promise<readonly string[]> {
    const { driver, read, write } = this.#parts;
    const { FRO, NFR } = driver.capability;
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

  #newDomain({ levels = 4, kind }: { readonly levels?: number; readonly kind?: 'pass-through' }): GuestDomain {
    const { driver } = this.#parts;
    if (kind === 'pass-through') return driver.passThroughDomain();
    if (levels !== 3 && levels !== 4)
      throw new RangeError(`VT-d scenarios have 3 or 4 levels, not ${levels}`);
    return driver.createDomain({ levels });
  }

  #domain(name: string): GuestDomain {
    const domain = this.#domains.get(name);
    if (domain === undefined) throw new Error(`there is no domain '${name}'`);
    return domain;
  }

  #writeEntry(step: EntryStep): void {
    const { driver } = this.#parts;
    const iova = pagesOfText(step.iova);
    const table = this.#domain(step.domain).tables?.tableAt(iova, step.level);
    if (table === undefined) throw new Error(`there is no table of level ${step.level} at ${step.iova}`);
    const [lo, hi] = this.#entryOf(step);
    driver.writeEntry(table, Math.floor(iova / 512 ** (step.level - 1)) % 512, lo, hi);
  }

  /** The two words of an entry (VT-d 9.8). */
  #entryOf(step: EntryStep): readonly [lo: number, hi: number] {
    switch (step.is) {
      case 'nothing':
        return [0, 0];
      case 'raw': {
        const bits = addressOfText(step.bits);
        return [Number(bits & 0xffff_ffffn), Number(bits >> 32n)];
      }
      case 'table':
        return entryWords(this.#parts.driver.allocatePage(), Access.ReadWrite);
      case 'leaf': {
        const large = step.level > 1 ? spec.SS_PS : 0;
        return entryWords(pagesOfText(step.to), accessOfText(step.access) | large);
      }
    }
  }

  async #invalidate(step: InvalidateStep): Promise<void> {
    const { driver } = this.#parts;
    switch (step.what) {
      case 'pages': {
        const am = Math.log2(pagesOfText(step.size));
        const { id } = this.#domain(step.domain);
        await driver.invalidateIotlb({ domain: id, iova: pagesOfText(step.iova), am });
        return;
      }
      case 'domain':
        await driver.invalidateIotlb({ domain: this.#domain(step.domain).id });
        return;
      case 'all':
        await driver.invalidateIotlb('global');
        return;
      case 'structures':
        await driver.invalidateContext('global');
        await driver.invalidateIotlb('global');
        return;
      case 'requester':
        throw new Error('a VT-d guest invalidates structures by domain or all of them');
    }
  }

  /** Rewrites the PASID-table entry of requests without PASID (VT-d 9.6) and invalidates everything. */
  async #turnToFirstStage(requester: RequesterId): Promise<void> {
    const { driver, memory } = this.#parts;
    const cursor = new PageCursor();
    const root = driver.allocatePage();
    const { PGTT, FSPM, FSPTPTR } = spec.PASID_TABLE_ENTRY.fields;
    const unit = VtdIommu.fromRegisters({ memory, bytes: await this.#dump() });
    lookupRequest(unit, requester, undefined, ({ structure, table, offset, words }) => {
      if (structure !== 'PASID-table entry') return;
      const edited = [...words];
      spec.writeField(edited, PGTT, spec.PGTT_FIRST_STAGE);
      spec.writeField(edited, FSPM, spec.FSPM_4_LEVEL);
      spec.writeField(edited, FSPTPTR, root);
      if (memory.locate(table, cursor, true)) cursor.words.set(edited, cursor.base + offset / 4);
    });
    await driver.invalidateContext('global');
    await driver.invalidateIotlb('global');
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

/** Enough for every register that the capabilities of QEMU's unit place. */
const DUMP_BYTES = 0x230;

function entryWords(page: number, flags: number): readonly [lo: number, hi: number] {
  return [((page % 2 ** 20) * 4096 + flags) >>> 0, Math.floor(page / 2 ** 20)];
}
