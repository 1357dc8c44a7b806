import {
  GuestDriverError,
  type RequestResult,
  type VirtioIommuGuestDriver,
  type VirtioIommuRequest,
} from '../../guests/index.ts';
import { formatRequesterId, type RequesterId } from '../../iommu/index.ts';
import { formatAddress } from '../../memory/index.ts';
import { spec } from '../../models/virtio/index.ts';
import type { GuestSide } from '../guest-side.ts';
import { REQUESTERS } from '../requesters.ts';
import type { AccessText, GuestStep } from '../scenario.ts';
import { addressOfText, bytesOfText, sizeText } from '../text.ts';

/** A domain as requests name it. */
interface NamedDomain {
  readonly id: number;
  /** Flags of the ATTACH requests of its endpoints. */
  readonly flags: number;
}

/** Where a scenario's requests leave room for a tail. */
const TAIL_BYTES = 4;

/** A guest of a virtio IOMMU. What it gives for a request is the status, `done` for OK. */
export class VirtioGuest implements GuestSide {
  readonly #driver: VirtioIommuGuestDriver;
  readonly #domains: Map<string, NamedDomain> = new Map();
  readonly #attached: Map<RequesterId, NamedDomain> = new Map();

  constructor(driver: VirtioIommuGuestDriver) {
    this.#driver = driver;
  }

  boot(): Promise<void> {
    return this.#driver.boot();
  }

  async take(step: GuestStep): Promise<string> {
    switch (step.do) {
      case 'domain': {
        const flags = step.kind === 'pass-through' ? spec.ATTACH_F_BYPASS : 0;
        this.#domains.set(step.name, { id: this.#domains.size + 1, flags });
        return 'done';
      }
      case 'attach':
      case 'switch': {
        const domain = this.#domain(step.domain);
        const answer = await this.#request({
          type: spec.T_ATTACH,
          domain: domain.id,
          endpoint: REQUESTERS[step.who],
          flags: domain.flags,
          reserved: 0,
        });
        if (answer === 'done') this.#attached.set(REQUESTERS[step.who], domain);
        return answer;
      }
      case 'detach': {
        const domain = this.#attached.get(REQUESTERS[step.who])?.id ?? 0;
        return this.#request({ type: spec.T_DETACH, domain, endpoint: REQUESTERS[step.who] });
      }
      case 'map':
        return this.#request({
          type: spec.T_MAP,
          domain: this.#domain(step.domain).id,
          ...range(step),
          phys_start: addressOfText(step.to),
          flags: FLAGS[step.access],
        });
      case 'unmap':
        return this.#request({
          type: spec.T_UNMAP,
          domain: this.#domain(step.domain).id,
          ...range(step),
          reserved: 0,
        });
      case 'bypass':
        await this.#driver.writeBypass(step.on ? 1 : 0);
        return 'done';
      case 'request': {
        const readable = step.bytes === '' ? [] : [Uint8Array.from(Buffer.from(step.bytes, 'hex'))];
        return this.#raw({ type: 'raw', readable, writable: [step.tail ?? TAIL_BYTES] });
      }
      case 'probe': {
        const { reserved, ...result } = await this.#driver.probe(REQUESTERS[step.who]);
        const answer = answerOf(result);
        return answer === 'done' && reserved.length > 0 ? reserved.map(reservedText).join(', ') : answer;
      }
      case 'restart':
        await this.#driver.boot();
        this.#attached.clear();
        return 'done';
      default:
        throw new Error(`a guest of a virtio IOMMU has no step '${step.do}'`);
    }
  }

  async faults(): Promise<readonly string[]> {
    return (await this.#driver.faults()).map(faultText);
  }

  /** A device that cannot go on without a reset is reset by nobody here. */
  async #raw(request: VirtioIommuRequest): Promise<string> {
    try {
      return await this.#request(request);
    } catch (error) {
      if (error instanceof GuestDriverError && error.code === 'needs-reset') return 'needs a reset';
      throw error;
    }
  }

  async #request(request: VirtioIommuRequest): Promise<string> {
    return answerOf(await this.#driver.request(request));
  }

  #domain(name: string): NamedDomain {
    const domain = this.#domains.get(name);
    if (domain === undefined) throw new Error(`there is no domain '${name}'`);
    return domain;
  }
}

const FLAGS: Readonly<Record<AccessText, number>> = {
  r: spec.MAP_F_READ,
  w: spec.MAP_F_WRITE,
  rw: spec.MAP_F_READ | spec.MAP_F_WRITE,
};

/** Status codes without their prefix (virtio 1.3, 5.13.6). */
const STATUSES: Readonly<Record<number, string>> = {
  [spec.S_OK]: 'done',
  [spec.S_IOERR]: 'IOERR',
  [spec.S_UNSUPP]: 'UNSUPP',
  [spec.S_DEVERR]: 'DEVERR',
  [spec.S_INVAL]: 'INVAL',
  [spec.S_RANGE]: 'RANGE',
  [spec.S_NOENT]: 'NOENT',
  [spec.S_FAULT]: 'FAULT',
  [spec.S_NOMEM]: 'NOMEM',
};

const REASONS: Readonly<Record<number, string>> = {
  [spec.FAULT_R_UNKNOWN]: 'UNKNOWN',
  [spec.FAULT_R_DOMAIN]: 'DOMAIN',
  [spec.FAULT_R_MAPPING]: 'MAPPING',
};

function range({ iova, size }: { readonly iova: string; readonly size: string }) {
  const virt_start = addressOfText(iova);
  return { virt_start, virt_end: virt_start + bytesOfText(size) - 1n };
}

function answerOf({ status, usedLength }: RequestResult): string {
  if (status === undefined) return `no status, ${usedLength} bytes used`;
  return STATUSES[status] ?? `status ${status}`;
}

/** `SUBTYPE ADDRESS SIZE`; both ends of the region are inclusive. */
function reservedText({ subtype, start, end }: spec.ReservedMemory): string {
  const name = subtype === spec.RESV_MEM_T_MSI ? 'MSI' : 'RESERVED';
  return `${name} ${formatAddress(start)} ${sizeText(end - start + 1n)}`;
}

/** `ENDPOINT ACCESS ADDRESS REASON`; `?` where the report has no flag for the access. */
function faultText({ endpoint, address, flags, reason }: spec.FaultReport): string {
  const access = (flags & spec.FAULT_F_WRITE) !== 0 ? 'w' : (flags & spec.FAULT_F_READ) !== 0 ? 'r' : '?';
  return `${formatRequesterId(endpoint)} ${access} ${formatAddress(address)} ${REASONS[reason] ?? reason}`;
}
