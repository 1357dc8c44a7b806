import type { Sequencer, Work } from '../../iommu/index.ts';
import type { Observer } from '../../memory/index.ts';
import type { EndpointSpaces } from './endpoint-spaces.ts';
import type { VirtioIommuSettings } from './options.ts';
import type { Outcome } from './request-parts.ts';
import type { Requests } from './requests.ts';
import * as spec from './spec/index.ts';
import { Trial } from './trial.ts';
import type { VirtioDevice } from './virtio-device.ts';
import type { Chain, SplitQueue } from './virtqueue/index.ts';

/** Most requests that wait for one barrier. */
const TOGETHER = 256;

/** What the request queue works with. */
export interface RequestQueueParts {
  readonly device: VirtioDevice;
  readonly settings: VirtioIommuSettings;
  readonly spaces: EndpointSpaces;
  readonly requests: Requests;
  readonly sequencer: Sequencer;
  readonly observer: Observer | undefined;
}

/** A buffer that was taken, and what to write into it; without an outcome it is given back unused. */
interface Taken {
  readonly chain: Chain;
  readonly outcome: Outcome | undefined;
  /** What precedes the tail. */
  readonly properties: Uint8Array;
}

const NO_PROPERTIES = new Uint8Array(0);

/**
 * The request queue (virtio 1.3, 5.13.6). Requests are carried out in order. As many as need not wait for each other are
 * sent to the hosts together; all of them are answered when the hosts have confirmed.
 */
export class RequestQueue implements Work {
  readonly #parts: RequestQueueParts;
  #queue: SplitQueue | undefined;
  #taken: Taken[] = [];
  /** Was taken from the queue, and has to wait for those before it. */
  #held: Chain | undefined;

  constructor(parts: RequestQueueParts) {
    this.#parts = parts;
  }

  start(): void | Promise<void> {
    const queue = this.#parts.device.activeQueue(spec.REQUESTQ);
    if (queue !== this.#queue) this.#held = undefined;
    this.#queue = queue;
    if (queue === undefined) return;
    const trial = new Trial(this.#parts.spaces);
    while (this.#taken.length < TOGETHER && !trial.isClosed) {
      const chain = this.#held ?? queue.take();
      this.#held = undefined;
      if (chain === undefined) break;
      const taken = this.#begin(chain, trial);
      if (taken === undefined) {
        this.#held = chain;
        break;
      }
      this.#taken.push(taken);
    }
    return trial.settle();
  }

  complete(): void {
    const { device, sequencer } = this.#parts;
    const taken = this.#taken;
    this.#taken = [];
    const queue = this.#queue;
    // After a reset nobody waits for the answers.
    if (queue === undefined || device.activeQueue(spec.REQUESTQ) !== queue) return;
    for (const one of taken) queue.put(one.chain, answer(one));
    if (this.#held === undefined) {
      queue.expectMore();
      this.#held = queue.take();
    }
    device.settleQueue(spec.REQUESTQ);
    if (this.#held !== undefined) sequencer.request(this);
  }

  /** Undefined, and nothing done, when the request has to wait. */
  #begin(chain: Chain, trial: Trial): Taken | undefined {
    const request = this.#parse(chain);
    if (request === undefined) return { chain, outcome: undefined, properties: NO_PROPERTIES };
    const isProbe = request.type === spec.T_PROBE;
    const room = isProbe
      ? Math.min(this.#parts.settings.probeSize, chain.writableBytes - spec.TAIL_BYTES)
      : 0;
    if (room < 0 || !chain.canWrite(0, room + spec.TAIL_BYTES)) {
      this.#observeBad('it has no room for the status');
      return { chain, outcome: undefined, properties: NO_PROPERTIES };
    }
    // 5.13.6.7.2: "If the properties list is smaller than probe_size, the device SHOULD NOT write any property."
    const isShort = isProbe && room < this.#parts.settings.probeSize;
    const outcome = isShort ? { status: spec.S_INVAL } : this.#parts.requests.perform(request, trial);
    if (outcome === undefined) return undefined;
    const isListed = isProbe && outcome.status === spec.S_OK;
    return {
      chain,
      outcome,
      properties: isListed ? this.#properties(room) : isProbe ? new Uint8Array(room) : NO_PROPERTIES,
    };
  }

  #parse(chain: Chain): spec.Request | undefined {
    if (chain.flaw !== undefined) {
      this.#observeBad(chain.flaw);
      return undefined;
    }
    const bytes = chain.read(spec.READABLE_BYTES.probe);
    const request = bytes === undefined ? undefined : spec.decodeRequest(bytes);
    if (request === undefined) {
      this.#observeBad(bytes === undefined ? 'it does not lie in RAM' : 'it is no request, or too short');
      return undefined;
    }
    const isOffered = (this.#parts.settings.features & spec.VIRTIO_IOMMU_F_PROBE) !== 0n;
    return request.type === spec.T_PROBE && !isOffered ? undefined : request;
  }

  /** 5.13.6.7.2: properties one behind the other, and zeroes behind them. */
  #properties(bytes: number): Uint8Array {
    const list = new Uint8Array(bytes);
    this.#parts.settings.reserved.forEach((region, i) => {
      list.set(spec.encodeReservedMemory(region), i * spec.RESV_MEM_BYTES);
    });
    return list;
  }

  #observeBad(why: string): void {
    this.#parts.observer?.observe({
      kind: 'bad-buffer',
      source: 'virtio-iommu',
      message: `a request was given back unused: ${why}`,
    });
  }
}

/** Writes properties and tail; the bytes written, 0 when the buffer is given back unused. */
function answer({ chain, outcome, properties }: Taken): number {
  if (outcome === undefined) return 0;
  const bytes = new Uint8Array(properties.length + spec.TAIL_BYTES);
  bytes.set(properties);
  bytes[properties.length] = outcome.status;
  return chain.write(0, bytes) ? bytes.length : 0;
}
