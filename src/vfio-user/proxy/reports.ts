import { addressOf, formatPage, type Observer } from '../../memory/index.ts';
import { errnoName } from '../wire/index.ts';
import { rangeOf } from './dma-requests.ts';
import type { ProxyEvents } from './events.ts';
import { type MappingPlace, publicMapping, type ServerMapping } from './mappings.ts';

/** Tells people about maps and unmaps; costs next to nothing when nobody listens. */
export class Reports {
  readonly #events: ProxyEvents | undefined;
  readonly #observer: Observer | undefined;
  #isFull = false;

  constructor(events: ProxyEvents | undefined, observer: Observer | undefined) {
    this.#events = events;
    this.#observer = observer;
  }

  /** A DMA_MAP of the VMM has its result. */
  mapped(place: MappingPlace, errno: number): void {
    if (this.#events?.asked === undefined) return;
    const { iova, size, offset, access } = publicMapping(place);
    const count = errno === 0 ? 1 : 0;
    this.#events.asked({ op: 'map', iova, size, offset, access, count, result: resultOf(errno) });
  }

  /** A DMA_UNMAP of the VMM, or a DMA_MAP that cannot be understood, has its result. */
  decided(op: 'map' | 'unmap', payload: Uint8Array, errno: number, count: number): void {
    if (this.#events?.asked === undefined) return;
    const { address, size } = rangeOf(op, payload);
    this.#events.asked({ op, iova: address, size, count, result: resultOf(errno) });
  }

  /** The server has answered. */
  told(op: 'map' | 'unmap', mapping: ServerMapping, errno: number): void {
    if (this.#events?.told === undefined) return;
    const { iova, size, offset, access } = publicMapping(mapping);
    const event = { op, iova, size, count: mapping.parts.length, result: resultOf(errno) };
    this.#events.told(op === 'map' ? { ...event, offset, access } : event);
  }

  /** A map was refused because the server is full. Told once until there is room again: the VMM is told each time. */
  full({ iova }: MappingPlace, maximum: number): void {
    if (this.#isFull) return;
    this.#isFull = true;
    this.#observer?.observe({
      kind: 'server-full',
      source: 'proxy',
      message: `the server holds ${maximum} mappings, its most: the one at ${formatPage(iova)} was refused (ENOSPC); let the guest map larger pages, or merge`,
      details: { maximum, iova: addressOf(iova) },
    });
  }

  /** There is room again. */
  roomAgain(): void {
    this.#isFull = false;
  }
}

function resultOf(errno: number): string {
  return errno === 0 ? 'ok' : errnoName(errno);
}
