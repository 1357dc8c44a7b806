import type { DmaEvent } from '../../vfio-user/index.ts';
import { formatBytes, formatCount, formatPerm, plural } from '../terminal/text.ts';
import type { HeldMapping } from './ledger-snapshot.ts';

/** How much came and went since a view last asked. */
export interface TallyWindow {
  readonly maps: number;
  readonly unmaps: number;
  readonly refused: number;
}

/** Counts DMA events on one side, for people. */
export class DmaTally {
  readonly #held: () => Iterable<HeldMapping>;
  readonly #sizes: 'exact' | 'as-asked';
  #mappings = 0;
  /** undefined: an unmap took mappings whose sizes it did not tell, so they have to be added up again. */
  #bytes: bigint | undefined = 0n;
  #maps = 0;
  #unmaps = 0;
  #refused = 0;
  #last: { readonly op: 'map' | 'unmap'; readonly event: DmaEvent } | undefined;
  #window: TallyWindow = { maps: 0, unmaps: 0, refused: 0 };

  /**
   * @param held what is mapped now, for when the events do not tell
   * @param sizes `exact` where an unmap has the size of what it removed; otherwise only one with an offset has
   */
  constructor(held: () => Iterable<HeldMapping>, sizes: 'exact' | 'as-asked' = 'as-asked') {
    this.#held = held;
    this.#sizes = sizes;
  }

  get mappings(): number {
    return this.#mappings;
  }

  /** Counts one event. */
  add(op: 'map' | 'unmap', event: DmaEvent): void {
    this.#last = { op, event };
    if (op === 'map') this.#maps++;
    else this.#unmaps++;
    if (event.result !== 'ok') {
      this.#refused++;
      return;
    }
    if (op === 'map') {
      this.#mappings += event.count;
      if (this.#bytes !== undefined && event.count > 0) this.#bytes += event.size;
      return;
    }
    this.#mappings -= event.count;
    if (this.#mappings === 0) this.#bytes = 0n;
    else if (event.count > 0 && this.#bytes !== undefined) {
      const isExact = this.#sizes === 'exact' || event.offset !== undefined;
      this.#bytes = isExact ? this.#bytes - event.size : undefined;
    }
  }

  /** The peer went, and all mappings with it. */
  clear(): void {
    this.#mappings = 0;
    this.#bytes = 0n;
    this.#last = undefined;
  }

  /** What came since this was last asked. */
  takeWindow(): TallyWindow {
    const now: TallyWindow = { maps: this.#maps, unmaps: this.#unmaps, refused: this.#refused };
    const before = this.#window;
    this.#window = now;
    return {
      maps: now.maps - before.maps,
      unmaps: now.unmaps - before.unmaps,
      refused: now.refused - before.refused,
    };
  }

  /** `60,000 mappings, 234.3 MiB`. */
  heldText(): string {
    let bytes = this.#bytes;
    let mappings = this.#mappings;
    if (bytes === undefined) {
      bytes = 0n;
      mappings = 0;
      for (const { size } of this.#held()) {
        bytes += size;
        mappings++;
      }
      // Otherwise more is on its way that has not been told yet, and the sum would not be that of what was.
      if (mappings === this.#mappings) this.#bytes = bytes;
    }
    return `${plural(mappings, 'mapping')}, ${formatBytes(bytes)}`;
  }

  /** What is held, how fast that changes, and what came last. */
  summaryText(window: TallyWindow, seconds: number): string {
    const last = this.#last === undefined ? '' : `; last: ${eventText(this.#last.op, this.#last.event)}`;
    return `${this.heldText()}; ${rateText(window, seconds)}${last}`;
  }
}

/** `81,234 maps/s, 12 unmaps/s`. */
export function rateText({ maps, unmaps }: TallyWindow, seconds: number): string {
  const rate = (count: number): string => formatCount(Math.round(count / seconds));
  return `${rate(maps)} maps/s, ${rate(unmaps)} unmaps/s`;
}

/** An event in words: `map 0x1000-0x1fff, 4 KiB, rw`, with its errno when it was refused. */
export function eventText(op: 'map' | 'unmap', event: DmaEvent): string {
  const { iova, size, access, count, result } = event;
  const end = size === 0n ? '' : `-0x${(iova + size - 1n).toString(16)}`;
  const perm = access === undefined ? '' : `, ${formatPerm(access)}`;
  const removed = op === 'unmap' && result === 'ok' && count !== 1 ? `, ${plural(count, 'mapping')}` : '';
  const refused = result === 'ok' ? '' : `: ${result}`;
  return `${op} 0x${iova.toString(16)}${end}, ${formatBytes(size)}${perm}${removed}${refused}`;
}
