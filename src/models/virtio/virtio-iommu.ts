import { type GuestIommu, type Mapping, type RequesterId, Sequencer, type Work } from '../../iommu/index.ts';
import type { Access, AddressSpace } from '../../memory/index.ts';
import { type Domain, DomainTable, type EndpointId } from './domain-table.ts';
import { EndpointSpaces } from './endpoint-spaces.ts';
import type { EndpointSpace } from './endpoint-space.ts';
import { FaultQueue } from './fault-queue.ts';
import { settingsOf, type VirtioIommuOptions, type VirtioIommuSettings } from './options.ts';
import { RequestQueue } from './request-queue.ts';
import { Requests } from './requests.ts';
import * as spec from './spec/index.ts';
import { VirtioDevice } from './virtio-device.ts';
import type { TranslationState } from './virtio-region.ts';

/** Entries of a queue, at the most. */
const QUEUE_SIZE_MAX = 256;

/**
 * A virtio IOMMU (virtio 1.3, 5.13). The guest attaches endpoints to domains and maps pages by requests, which are
 * answered when every host behind the endpoints has confirmed; what a host cannot hold is refused by the status, and
 * changes nothing anywhere.
 */
export class VirtioIommu implements GuestIommu, TranslationState {
  readonly name = 'virtio-iommu';
  readonly memory: AddressSpace;
  /** The front by which a transport, or a test, drives the device. */
  readonly device: VirtioDevice;
  readonly #settings: VirtioIommuSettings;
  readonly #table: DomainTable;
  readonly #spaces: EndpointSpaces;
  readonly #sequencer: Sequencer = new Sequencer();
  readonly #faults: FaultQueue;
  readonly #requests: RequestQueue;
  readonly #renewal: Work;
  #bypass: boolean;

  /** RangeError, with the remedy, when the options contradict the specification or each other. */
  constructor(options: VirtioIommuOptions) {
    const { memory, observer } = options;
    const settings = settingsOf(options);
    this.memory = memory;
    this.#settings = settings;
    this.#bypass = settings.bootBypass;
    this.#table = new DomainTable(settings.maxDomains);
    const doorbell = settings.reserved.findIndex(({ subtype }) => subtype === spec.RESV_MEM_T_MSI);
    const spaces = new EndpointSpaces(
      this,
      {
        doorbell: settings.reservedPages[doorbell],
        sendInterrupt: options.sendInterrupt,
        ...(options.budget === undefined ? {} : { budget: options.budget }),
      },
      observer,
    );
    this.#spaces = spaces;
    const device = this.#newDevice(options);
    this.device = device;
    this.#faults = new FaultQueue(device, observer);
    this.#renewal = {
      start: () => this.#renew(),
      complete: () => undefined,
    };
    const has = (feature: bigint): boolean => device.has(feature);
    const requests = new Requests({ settings, table: this.#table, spaces, observer, has });
    this.#requests = new RequestQueue({
      device,
      settings,
      spaces,
      requests,
      sequencer: this.#sequencer,
      observer,
    });
  }

  /** Fault reports for which the driver had no buffer. */
  get droppedFaults(): number {
    return this.#faults.dropped;
  }

  addressSpace(requester: RequesterId): AddressSpace {
    return this.endpointSpace(requester).space;
  }

  /** The space of `requester` with its region, made when first asked for. RangeError for what is no requester ID. */
  endpointSpace(requester: RequesterId): EndpointSpace {
    return this.#spaces.get(requester);
  }

  releaseAddressSpace(requester: RequesterId): void {
    this.#spaces.release(requester);
  }

  settled(): void | Promise<void> {
    return this.#sequencer.settled();
  }

  /** Reports a fault of reason UNKNOWN at the first page of `mapping`: the device behind `requester` lost its mappings. */
  hostRefused(requester: RequesterId, mapping: Mapping): void {
    this.#faults.report(requester, mapping.iova, mapping.access, spec.FAULT_R_UNKNOWN);
  }

  domainOf(endpoint: EndpointId): Domain | undefined {
    return this.#table.domainOf(endpoint);
  }

  isBypassing(endpoint: EndpointId): boolean {
    const domain = this.#table.domainOf(endpoint);
    if (domain !== undefined) return domain.isBypass;
    // 5.13.6: config field bypass counts even if the driver does not accept the feature.
    if ((this.#settings.features & spec.VIRTIO_IOMMU_F_BYPASS_CONFIG) !== 0n) return this.#bypass;
    return this.device.has(spec.VIRTIO_IOMMU_F_BYPASS);
  }

  accessBlocked(endpoint: EndpointId, page: number, access: Access, reason: number): void {
    this.#faults.report(endpoint, page, access, reason);
  }

  /** As after power-on: a reset of the device that also restores `bypass` (5.13.4.2). */
  systemReset(): void {
    this.#bypass = this.#settings.bootBypass;
    this.device.writeStatus(0);
    // A reset that was under way already may have looked at `bypass` before.
    this.#sequencer.request(this.#renewal);
  }

  #newDevice({ memory, observer }: VirtioIommuOptions): VirtioDevice {
    return new VirtioDevice(
      {
        deviceId: spec.VIRTIO_ID_IOMMU,
        name: this.name,
        features: this.#settings.features,
        queues: 2,
        queueSizeMax: QUEUE_SIZE_MAX,
        config: () => this.#config(),
        writeConfig: (offset, data) => this.#writeConfig(offset, data),
        negotiated: () => this.#sequencer.request(this.#renewal),
        available: (index) => {
          if (index === spec.REQUESTQ) this.#sequencer.request(this.#requests);
        },
        reset: (done) => this.#reset(done),
      },
      memory,
      observer,
    );
  }

  #config(): Uint8Array {
    const { pageSizeMask, inputRange, domainRange, probeSize } = this.#settings;
    return spec.encodeConfig({
      page_size_mask: pageSizeMask,
      input_range: inputRange,
      domain_range: domainRange,
      probe_size: probeSize,
      bypass: this.#bypass ? 1 : 0,
    });
  }

  /** Only `bypass` can be written, and only 0 and 1 to it (5.13.4.1). */
  #writeConfig(offset: number, data: Uint8Array): void {
    const value = data[spec.BYPASS_OFFSET - offset];
    if (value === undefined || value > 1 || !this.device.has(spec.VIRTIO_IOMMU_F_BYPASS_CONFIG)) return;
    this.#bypass = value === 1;
    this.#sequencer.request(this.#renewal);
  }

  /** 5.13.5: "When the device is reset, endpoints are not attached to any domain." What is under way ends before. */
  #reset(done: () => void): void {
    this.#sequencer.request({
      start: () => {
        this.#table.clear();
        return this.#renew();
      },
      complete: done,
    });
  }

  #renew(): void | Promise<void> {
    const spaces = this.#spaces.all();
    this.#spaces.refresh(spaces);
    return this.#spaces.confirmed(spaces);
  }
}
