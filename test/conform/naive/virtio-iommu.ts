import {
  addressOfText,
  bytesOfText,
  type GuestStep,
  NotSupported,
  type Requester,
  REQUESTERS,
  type Slot,
} from '../../../src/conform/index.ts';
import type { NaiveHost } from './host.ts';
import { EVERYTHING, type Leaf, RAM } from './leaf.ts';
import type { NaiveIommu } from './naive-iommu.ts';
import { VirtioDomains } from './virtio-domains.ts';
import { requestOf, type VirtioRequest } from './virtio-request.ts';

const MAP_FLAGS = { r: 1, w: 2, rw: 3 } as const;

const NO_ANSWER = 'no status, 0 bytes used';

/** virtio-iommu: requests change mappings, and are answered when the hosts hold the same. */
export class VirtioIommu implements NaiveIommu {
  readonly #bootBypass: boolean;
  #bypass: boolean;
  #domains: VirtioDomains = new VirtioDomains();
  /** Domains by name; their identifiers count from 1. */
  readonly #names: Map<string, { readonly id: number; readonly flags: number }> = new Map();
  readonly #hosts: Map<Slot, NaiveHost> = new Map();

  constructor(bootBypass: boolean) {
    this.#bootBypass = bootBypass;
    this.#bypass = bootBypass;
  }

  plug(slot: Slot, host: NaiveHost): boolean {
    if (!host.canFollow(EVERYTHING, this.#desired(slot))) return false;
    host.follow(EVERYTHING, this.#desired(slot));
    this.#hosts.set(slot, host);
    return true;
  }

  unplug(slot: Slot): void {
    this.#hosts.delete(slot);
  }

  reachOf(slot: Slot): readonly Leaf[] {
    return this.#desired(slot);
  }

  reset(): void {
    this.#bypass = this.#bootBypass;
    this.#names.clear();
    this.#restart();
  }

  take(step: GuestStep): string {
    switch (step.do) {
      case 'domain':
        this.#names.set(step.name, {
          id: this.#names.size + 1,
          flags: step.kind === 'pass-through' ? 1 : 0,
        });
        return 'done';
      case 'bypass':
        this.#bypass = step.on;
        this.#follow();
        return 'done';
      case 'boot':
      case 'restart':
        this.#restart();
        return 'done';
      case 'probe':
        return 'MSI 0xfee00000 1M';
      case 'request':
        // Without a tail there is no room for an answer.
        return step.tail !== undefined && step.tail < 4
          ? NO_ANSWER
          : this.#request(requestOf(step.bytes), false);
      default:
        return this.#request(this.#requestOf(step), false);
    }
  }

  refuse(step: GuestStep): string {
    return this.#request(this.#requestOf(step), true);
  }

  /** Nothing has changed when it is refused: because a host says so, or because one cannot hold it. */
  #request(request: VirtioRequest | undefined, refused: boolean): string {
    if (request === undefined) return NO_ANSWER;
    const before = this.#domains.copy();
    const status = this.#domains.take(request);
    const refusable = request.do === 'map' || request.do === 'attach';
    if (refusable && (refused || [...this.#hosts].some(([slot, host]) => !this.#fits(slot, host)))) {
      this.#domains = before;
      return request.do === 'map' ? 'NOMEM' : 'UNSUPP';
    }
    this.#follow();
    return status;
  }

  #requestOf(step: GuestStep): VirtioRequest | undefined {
    switch (step.do) {
      case 'attach':
      case 'switch': {
        const { id, flags } = this.#named(step.domain);
        return { do: 'attach', domain: id, endpoint: endpointOf(step.who), flags };
      }
      case 'detach': {
        const endpoint = endpointOf(step.who);
        return { do: 'detach', domain: this.#domains.domainOf(endpoint) ?? 0, endpoint };
      }
      case 'map': {
        const range = { domain: this.#named(step.domain).id, ...bytesOf(step) };
        return { do: 'map', ...range, to: addressOfText(step.to), flags: MAP_FLAGS[step.access] };
      }
      case 'unmap':
        return { do: 'unmap', domain: this.#named(step.domain).id, ...bytesOf(step) };
      default:
        throw new NotSupported(`a virtio-iommu has no step '${step.do}'`);
    }
  }

  #restart(): void {
    this.#domains = new VirtioDomains();
    this.#follow();
  }

  #follow(): void {
    for (const [slot, host] of this.#hosts) host.follow(EVERYTHING, this.#desired(slot));
  }

  #fits(slot: Slot, host: NaiveHost): boolean {
    return host.canFollow(EVERYTHING, this.#desired(slot));
  }

  #desired(slot: Slot): readonly Leaf[] {
    return this.#domains.leavesOf(endpointOf(slot), this.#bypass) ?? RAM;
  }

  #named(name: string): { readonly id: number; readonly flags: number } {
    const domain = this.#names.get(name);
    if (domain === undefined) throw new Error(`there is no domain '${name}'`);
    return domain;
  }
}

function endpointOf(who: Requester): number {
  return REQUESTERS[who];
}

function bytesOf(step: { readonly iova: string; readonly size: string }): { first: bigint; last: bigint } {
  const first = addressOfText(step.iova);
  return { first, last: first + bytesOfText(step.size) - 1n };
}
