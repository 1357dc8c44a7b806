import {
  type GuestIommu,
  InvalidationBatch,
  type Mapping,
  type RequesterId,
  RequesterSpaces,
  Sequencer,
  type WalkBudget,
  type Work,
} from '../../iommu/index.ts';
import { Access, type AddressSpace, DeviceRegion, type Observer, pageOf } from '../../memory/index.ts';
import { RegisterFile } from '../register-file.ts';
import { readLittleEndian, type SendInterrupt } from '../send-interrupt.ts';
import { AmdviSpace, type AmdviSpaceOptions, type InterruptRequest } from './amdvi-space.ts';
import type { AmdviState, DeviceTable, Exclusion, FaultingRequest } from './amdvi-state.ts';
import { CommandBuffer } from './command-buffer.ts';
import { Control } from './control.ts';
import { blockedInterrupt } from './device-translation.ts';
import { EventLog } from './event-log.ts';
import { FaultLog } from './fault-log.ts';
import { type InterruptMessage, OwnInterrupt } from './own-interrupt.ts';
import { capabilityOfDump, restoreRegisters } from './register-dump.ts';
import { RegisterPort } from './register-port.ts';
import * as spec from './spec/index.ts';

/** What an IOMMU is built from. */
export interface AmdviIommuOptions {
  /** System memory: where the guest's tables, commands and events are, and where translated requests go. Must outlive the IOMMU. */
  readonly memory: AddressSpace;
  /** What the IOMMU offers; BASE_CAPABILITY when left out. */
  readonly capability?: spec.Capability;
  /** Hears `guest-fault`, `queue-error` and `sink-failed`. */
  readonly observer?: Observer;
  /** What one walk of the guest's tables may cost. */
  readonly budget?: WalkBudget;
  /** Whether translations are cached; true when left out. */
  readonly iotlb?: boolean;
  /** The guest will not run again: see {@link AmdviState.guestStopped}. */
  readonly guestStopped?: boolean;
  /** Takes the IOMMU's own interrupt, and what devices write to 0xfee00000-0xfeefffff. Interrupts are not remapped. */
  readonly sendInterrupt?: SendInterrupt;
}

/**
 * An AMD-Vi IOMMU: its MMIO registers, its command buffer, its event log, and the address space of each requester.
 *
 * Not modelled: interrupt remapping (messages of devices whose entry has IntCtl 10 pass as they are sent), guest
 * translation and with it requests with PASID, peripheral page requests, accessed and dirty flags, device table segments,
 * and the HyperTransport address range 0xfd00000000-0xffffffffff, which is translated like any other.
 */
export class AmdviIommu implements GuestIommu, AmdviState {
  readonly name = 'AMD-Vi';
  readonly capability: spec.Capability;
  readonly memory: AddressSpace;
  readonly guestStopped: boolean;
  /** The MMIO registers as the guest sees them, to be placed in system memory: aligned accesses of 4 or 8 bytes, others are refused. */
  readonly registers: DeviceRegion;
  readonly #registers: RegisterFile;
  readonly #sequencer = new Sequencer();
  readonly #spaces: RequesterSpaces<AmdviSpace>;
  readonly #interrupt: OwnInterrupt;
  readonly #sendInterrupt: SendInterrupt | undefined;
  readonly #faults: FaultLog;
  readonly #commands: CommandBuffer;
  readonly #control: Control;
  readonly #port: RegisterPort;
  readonly #renewal: Work;

  constructor(options: AmdviIommuOptions) {
    const { memory, capability = spec.BASE_CAPABILITY, observer, sendInterrupt } = options;
    this.memory = memory;
    this.capability = capability;
    this.guestStopped = options.guestStopped ?? false;
    this.#sendInterrupt = sendInterrupt;
    const registers = new RegisterFile(spec.registerWords(capability));
    const interrupt = new OwnInterrupt(registers, sendInterrupt);
    const events = new EventLog(registers, memory, interrupt);
    const faults = new FaultLog(events, observer);
    const spaceOptions = this.#spaceOptions(options);
    const spaces = new RequesterSpaces<AmdviSpace>(
      {
        name: this.name,
        memory,
        hasPasids: false,
        isTranslating: () => this.enabled,
        make: (requester) => new AmdviSpace(this, requester, spaceOptions),
      },
      observer,
    );
    const commands = new CommandBuffer({
      memory,
      capability,
      registers,
      spaces,
      events,
      interrupt,
      observer,
      entriesInvalidated: (devices) => faults.entriesInvalidated(devices),
    });
    const control = new Control(registers, commands, events);
    const renewal: Work = {
      start: () => {
        faults.entriesInvalidated('all');
        return spaces.apply(everything());
      },
      complete: () => undefined,
    };
    this.#registers = registers;
    this.#interrupt = interrupt;
    this.#faults = faults;
    this.#spaces = spaces;
    this.#commands = commands;
    this.#control = control;
    this.#renewal = renewal;
    this.#port = new RegisterPort({
      registers,
      sequencer: this.#sequencer,
      control,
      commands,
      events,
      renewal,
    });
    this.registers = new DeviceRegion('AMD-Vi registers', spec.MMIO_BYTES / 4096, this.#port);
  }

  /**
   * An IOMMU with the capabilities and in the state of a register dump: see {@link restore}. `header` is the first DWORD
   * of the PCI capability block, which holds NpCache; without it, that of BASE_CAPABILITY. Throws RegisterDumpError when
   * the dump is too short.
   */
  static fromRegisters(
    options: Omit<AmdviIommuOptions, 'capability'> & {
      readonly bytes: Uint8Array;
      readonly header?: number;
    },
  ): AmdviIommu {
    const { bytes, header = spec.encodeCapabilityHeader(spec.BASE_CAPABILITY), ...rest } = options;
    const iommu = new AmdviIommu({ ...rest, capability: capabilityOfDump(bytes, header) });
    iommu.restore(bytes);
    return iommu;
  }

  /** IommuEn. */
  get enabled(): boolean {
    return this.#control.enabled;
  }

  get deviceTable(): DeviceTable {
    return this.#control.deviceTable;
  }

  get exclusion(): Exclusion | undefined {
    return this.#control.exclusion;
  }

  /** What the guest programmed into the MSI capability of the IOMMU's PCI function; no interrupt is sent while undefined. */
  get interruptMessage(): InterruptMessage | undefined {
    return this.#interrupt.message;
  }

  set interruptMessage(message: InterruptMessage | undefined) {
    this.#interrupt.message = message;
  }

  addressSpace(requester: RequesterId): AddressSpace {
    return this.requesterSpace(requester).space;
  }

  /** The space of `requester` with its IOMMU region, made when first asked for. RangeError for what is no requester ID. */
  requesterSpace(requester: RequesterId): AmdviSpace {
    return this.#spaces.get(requester);
  }

  releaseAddressSpace(requester: RequesterId): void {
    this.#spaces.release(requester);
  }

  settled(): void | Promise<void> {
    return this.#sequencer.settled();
  }

  /**
   * Logs an IO_PAGE_FAULT without permission (PR and PE set) for the first page of `mapping`: what comes nearest to a
   * page that is there and that a host does not let the device reach.
   */
  hostRefused(requester: RequesterId, mapping: Mapping): void {
    const translation = this.requesterSpace(requester).region.translation(0);
    this.recordFault({
      requester,
      page: mapping.iova,
      isWrite: (mapping.access & Access.Read) === 0,
      fault: spec.NO_PERMISSION,
      address: undefined,
      domain: translation.kind === 'pass-through' ? 0 : translation.domain,
      suppress: translation.kind === 'pass-through' ? 'none' : translation.suppress,
    });
  }

  recordFault(request: FaultingRequest): void {
    this.#faults.record(request);
  }

  /** What a guest reads at byte `offset`. RangeError for an access that is not 4 or 8 bytes, aligned, within the MMIO space. */
  readRegister(offset: number, bytes: 4 | 8): bigint {
    return this.#port.readRegister(offset, bytes);
  }

  /** A guest's write of `value`, cut to `bytes`, at byte `offset`. RangeError as for {@link readRegister}. */
  writeRegister(offset: number, value: bigint, bytes: 4 | 8): void {
    this.#port.writeRegister(offset, value, bytes);
  }

  /**
   * Takes up the state of a register dump, bytes from offset 0 on; commands between head and tail are done again. A dump
   * that ends before Status is of an IOMMU in which everything that is enabled runs. Throws RegisterDumpError, and
   * changes nothing, when the dump does not fit this IOMMU.
   */
  restore(bytes: Uint8Array): void {
    const hasStatus = restoreRegisters(this.#registers, bytes, this.capability);
    this.#sequencer.cancel();
    this.#commands.forget();
    if (!hasStatus) this.#control.resume();
    this.#sequencer.request(this.#renewal);
    this.#sequencer.request(this.#commands);
  }

  /** As after power-on: every requester's requests pass untranslated. */
  reset(): void {
    this.#sequencer.cancel();
    this.#commands.forget();
    this.#registers.reset();
    this.#sequencer.request(this.#renewal);
  }

  #spaceOptions({ budget, iotlb }: AmdviIommuOptions): AmdviSpaceOptions {
    return {
      interrupt: (request) => this.#deviceInterrupt(request),
      ...(budget === undefined ? {} : { budget }),
      ...(iotlb === undefined ? {} : { iotlb }),
    };
  }

  /** An access to the interrupt range: a write of one aligned DWORD is an interrupt request, all else is refused. */
  #deviceInterrupt({ requester, address, data }: InterruptRequest): boolean {
    const refuse = (fault: spec.FaultReason, at: bigint): boolean => {
      const isWrite = data !== undefined;
      const page = pageOf(address);
      this.recordFault({ requester, page, isWrite, fault, address: at, domain: 0, suppress: 'none' });
      return false;
    };
    if (data === undefined || data.length !== 4 || address % 4n !== 0n) {
      return this.enabled ? refuse(spec.NO_INTERRUPT, address) : false;
    }
    const blocked = blockedInterrupt(this, requester);
    if (blocked !== undefined) return refuse(blocked.fault, blocked.entryAddress ?? address);
    this.#sendInterrupt?.(address, readLittleEndian(data));
    return true;
  }
}

function everything(): InvalidationBatch {
  const batch = new InvalidationBatch();
  batch.everyStructure = true;
  return batch;
}
