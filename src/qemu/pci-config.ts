/** PCI configuration space by the ports 0xcf8 and 0xcfc, and what firmware would set up in it. @module */
import { formatRequesterId, type RequesterId } from '../iommu/index.ts';
import type { QtestClient } from './qtest-client.ts';

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;

/** Offsets in configuration space that tests use. */
export const Config = {
  ID: 0x00,
  COMMAND: 0x04,
  BAR0: 0x10,
  BUS_NUMBERS: 0x18,
  MEMORY_WINDOW: 0x20,
  PREFETCHABLE_WINDOW: 0x24,
  CAPABILITIES: 0x34,
} as const;

/** Bits of the command register. */
export const COMMAND_MEMORY = 2;
export const COMMAND_BUS_MASTER = 4;

/** Capability identifiers. */
export const CAPABILITY_MSI = 0x05;
export const CAPABILITY_EXPRESS = 0x10;

/** What is written to configuration space, a function at a time. */
export class PciConfig {
  readonly #qtest: QtestClient;

  constructor(qtest: QtestClient) {
    this.#qtest = qtest;
  }

  /** The 32 bits at `offset`, a multiple of 4. */
  async read(fn: RequesterId, offset: number): Promise<number> {
    void this.#select(fn, offset);
    return this.#qtest.inPort(CONFIG_DATA, 4);
  }

  /** Writes `bytes` bytes at `offset`, which is a multiple of them. */
  async write(fn: RequesterId, offset: number, value: number, bytes: 1 | 2 | 4 = 4): Promise<void> {
    void this.#select(fn, offset);
    await this.#qtest.outPort(CONFIG_DATA + (offset & 3), value, bytes);
  }

  /** Offset of the first capability with that identifier; rejects when the function has none. */
  async capability(fn: RequesterId, id: number): Promise<number> {
    const found = (await this.capabilities(fn)).find(({ header }) => (header & 0xff) === id);
    if (found !== undefined) return found.at;
    throw new Error(`${formatRequesterId(fn)} has no capability 0x${id.toString(16)}`);
  }

  /** Every capability: its offset and its first 32 bits, the identifier lowest. */
  async capabilities(fn: RequesterId): Promise<{ readonly at: number; readonly header: number }[]> {
    const found: { at: number; header: number }[] = [];
    let at = (await this.read(fn, Config.CAPABILITIES)) & 0xfc;
    for (let links = 0; at !== 0 && links < 48; links++) {
      // eslint-disable-next-line no-await-in-loop -- a linked list
      const header = await this.read(fn, at);
      found.push({ at, header });
      at = (header >>> 8) & 0xfc;
    }
    return found;
  }

  /** Gives a bridge its bus numbers and lets it pass DMA, and memory accesses to `window` (whole MiB, exclusive end). */
  async setUpBridge(
    bridge: RequesterId,
    secondary: number,
    subordinate: number,
    window: { readonly start: number; readonly end: number },
  ): Promise<void> {
    await this.write(bridge, Config.BUS_NUMBERS, (subordinate << 16) | (secondary << 8) | (bridge >> 8));
    const limit = window.end - 0x10_0000;
    await this.write(bridge, Config.MEMORY_WINDOW, (limit & 0xfff0_0000) | (window.start >>> 16));
    // A base above the limit closes the window.
    await this.write(bridge, Config.PREFETCHABLE_WINDOW, 0x0000_fff0);
    await this.write(bridge, Config.COMMAND, COMMAND_MEMORY | COMMAND_BUS_MASTER, 2);
  }

  /** Places BAR 0 and lets the function answer there and do DMA. */
  async enable(fn: RequesterId, bar0: number): Promise<void> {
    await this.write(fn, Config.BAR0, bar0);
    await this.write(fn, Config.COMMAND, COMMAND_MEMORY | COMMAND_BUS_MASTER, 2);
  }

  #select(fn: RequesterId, offset: number): Promise<void> {
    return this.#qtest.outPort(CONFIG_ADDRESS, 0x8000_0000 + fn * 256 + (offset & 0xfc), 4);
  }
}
