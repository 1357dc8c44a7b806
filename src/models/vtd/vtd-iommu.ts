import {
  type GuestIommu,
  InvalidationBatch,
  type Mapping,
  type RequesterId,
  RequesterSpaces,
  type RequesterViews,
  Sequencer,
  type WalkBudget,
  type Work,
} from '../../iommu/index.ts';
import { Access, type AddressSpace, DeviceRegion, type Observer } from '../../memory/index.ts';
import type { RegisterFile } from '../register-file.ts';
import { readLittleEndian, type SendInterrupt } from '../send-interrupt.ts';
import { FaultRecorder } from './fault-recorder.ts';
import { reportFault } from './fault-report.ts';
import { FaultStatus } from './fault-status.ts';
import { GlobalCommand } from './global-command.ts';
import { InterruptMessage } from './interrupt-message.ts';
import { InvalidationQueue } from './invalidation-queue.ts';
import { ProtectedMemory } from './protected-memory.ts';
import { capabilityOfDump, restoreRegisters } from './register-dump.ts';
import { registerSet, VtdSetupError } from './register-set.ts';
import { ContextCommand, IotlbCommand } from './register-invalidation.ts';
import { RegisterPort } from './register-port.ts';
import type { FaultingRequest, RemappingState } from './remapping-state.ts';
import { RequesterSpace, type RequesterSpaceOptions } from './requester-space.ts';
import * as spec from './spec/index.ts';

/** What a unit is built from. */
export interface VtdIommuOptions {
  /** System memory: where the guest's tables and queue are, and where translated requests go. Must outlive the unit. */
  readonly memory: AddressSpace;
  /** What the unit offers; BASE_CAPABILITY when left out. */
  readonly capability?: spec.Capability;
  /** Host address width in bits, 32 to 52; 48 when left out. */
  readonly haw?: number;
  /** Hears `guest-fault`, `queue-error` and `sink-failed`. */
  readonly observer?: Observer;
  /** What one walk of the guest's tables may cost. */
  readonly budget?: WalkBudget;
  /** Whether translations are cached; true when left out. */
  readonly iotlb?: boolean;
  /** The guest will not run again: see {@link RemappingState.guestStopped}. */
  readonly guestStopped?: boolean;
  /** Takes fault and invalidation events, and what devices write to 0xfee00000-0xfeefffff. Interrupts are not remapped. */
  readonly sendInterrupt?: SendInterrupt;
}

/**
 * A VT-d remapping unit: its registers, its invalidation queue, its fault log, and the address space of each requester.
 *
 * Interrupts are not remapped: on a unit whose capabilities report interrupt remapping (ECAP_REG.IR), as those of saved
 * guests do, its commands show in GSTS_REG and its invalidations are accepted, and messages pass as devices send them.
 */
export class VtdIommu implements GuestIommu, RemappingState {
  readonly name = 'VT-d';
  readonly capability: spec.Capability;
  readonly haw: number;
  readonly memory: AddressSpace;
  readonly guestStopped: boolean;
  /** The register set as the guest sees it, to be placed in system memory: aligned accesses of 4 or 8 bytes, others are refused. */
  readonly registers: DeviceRegion;
  readonly #registers: RegisterFile;
  readonly #observer: Observer | undefined;
  readonly #sequencer: Sequencer;
  readonly #spaces: RequesterSpaces<RequesterSpace>;
  readonly #port: RegisterPort;
  readonly #recorder: FaultRecorder;
  readonly #queue: InvalidationQueue;
  readonly #global: GlobalCommand;
  readonly #context: ContextCommand;
  readonly #iotlb: IotlbCommand;
  readonly #protected: ProtectedMemory;
  readonly #renewal: Work;

  /** Throws VtdSetupError when the capabilities place two registers at one offset, or `haw` is out of range. */
  constructor(options: VtdIommuOptions) {
    const { memory, capability = spec.BASE_CAPABILITY, haw = 48, observer, sendInterrupt } = options;
    if (!Number.isInteger(haw) || haw < 32 || haw > 52) {
      throw new VtdSetupError(`a host address width of ${haw} bits: give 32 to 52`);
    }
    this.memory = memory;
    this.capability = capability;
    this.haw = haw;
    this.guestStopped = options.guestStopped ?? false;
    this.#observer = observer;
    const registers = registerSet(capability, haw);
    const spaces = new RequesterSpaces(this.#views(spaceOptions(options)), observer);
    const faultEvent = new InterruptMessage(registers, spec.FECTL_REG, sendInterrupt);
    const invalidationEvent = new InterruptMessage(registers, spec.IECTL_REG, sendInterrupt);
    const status = new FaultStatus(registers, faultEvent);
    const recorder = new FaultRecorder(registers, status, capability);
    const parts = { state: this, registers, spaces };
    const queue = new InvalidationQueue({ ...parts, status, event: invalidationEvent, observer });
    const sequencer = new Sequencer();
    const requestQueue = (): void => sequencer.request(queue);
    const global = new GlobalCommand({ capability, registers, spaces, queue, recorder, requestQueue });
    const context = new ContextCommand(parts);
    const iotlb = new IotlbCommand(parts);
    const protectedMemory = new ProtectedMemory(registers, capability, spaces);
    this.#registers = registers;
    this.#spaces = spaces;
    this.#recorder = recorder;
    this.#queue = queue;
    this.#sequencer = sequencer;
    this.#global = global;
    this.#context = context;
    this.#iotlb = iotlb;
    this.#protected = protectedMemory;
    this.#port = new RegisterPort({
      registers,
      sequencer,
      global,
      context,
      iotlb,
      protectedMemory,
      queue,
      status,
      recorder,
      faultEvent,
      invalidationEvent,
    });
    this.registers = new DeviceRegion('VT-d registers', Math.ceil(registers.bytes / 4096), this.#port);
    this.#renewal = { start: () => spaces.apply(everything()), complete: () => undefined };
  }

  /**
   * A unit with the capabilities and in the state of a register dump: see {@link restore}. `haw` is 48 when left out.
   * Throws RegisterDumpError when the dump is too short or contradicts itself.
   */
  static fromRegisters(
    options: Omit<VtdIommuOptions, 'capability'> & { readonly bytes: Uint8Array },
  ): VtdIommu {
    const { bytes, ...rest } = options;
    const unit = new VtdIommu({ ...rest, capability: capabilityOfDump(bytes) });
    unit.restore(bytes);
    return unit;
  }

  /** GSTS_REG.TES; it changes with GCMD_REG.TE, while GSTS_REG follows when the hosts have confirmed. */
  get translationEnabled(): boolean {
    return this.#global.translating;
  }

  get rootTable(): number {
    return this.#global.rootTable;
  }

  get translationTableMode(): number {
    return this.#global.translationTableMode;
  }

  addressSpace(requester: RequesterId): AddressSpace {
    return this.requesterSpace(requester).space;
  }

  /** The space of `requester` with its IOMMU region, made when first asked for. RangeError for what is no requester ID. */
  requesterSpace(requester: RequesterId): RequesterSpace {
    return this.#spaces.get(requester);
  }

  releaseAddressSpace(requester: RequesterId): void {
    this.#spaces.release(requester);
  }

  settled(): void | Promise<void> {
    return this.#sequencer.settled();
  }

  /**
   * Records LGN.1 or, in scalable mode, SGN.4 for the first page of `mapping`: an address beyond what the platform
   * translates is the reason that comes nearest to a host that cannot hold the mapping.
   */
  hostRefused(requester: RequesterId, mapping: Mapping): void {
    this.recordFault({
      requester,
      page: mapping.iova,
      isWrite: (mapping.access & Access.Read) === 0,
      pasid: undefined,
      code: this.translationTableMode === spec.TTM_SCALABLE ? spec.SGN_4 : spec.LGN_1,
      fpd: false,
    });
  }

  recordFault(request: FaultingRequest): void {
    const suppressed = request.fpd && spec.isQualified(request.code);
    const outcome = suppressed
      ? 'suppressed'
      : this.#recorder.record({
          page: request.page,
          SID: request.requester,
          FR: request.code,
          type: request.isWrite ? spec.REQUEST_WRITE : spec.REQUEST_READ,
          AT: spec.AT_UNTRANSLATED,
          PASID: request.pasid,
          PRIV: false,
          EXE: false,
        });
    if (this.#observer !== undefined) reportFault(this.#observer, request, outcome);
  }

  /** What a guest reads at byte `offset`. RangeError for an access that is not 4 or 8 bytes, aligned, within the register set. */
  readRegister(offset: number, bytes: 4 | 8): bigint {
    return this.#port.readRegister(offset, bytes);
  }

  /** A guest's write of `value`, cut to `bytes`, at byte `offset`. RangeError as for {@link readRegister}. */
  writeRegister(offset: number, value: bigint, bytes: 4 | 8): void {
    this.#port.writeRegister(offset, value, bytes);
  }

  /**
   * Takes up the state of a register dump, bytes from offset 0 on: what was under way then is done again. RTADDR_REG
   * counts as latched. Throws RegisterDumpError, and changes nothing, when the dump does not fit this unit.
   */
  restore(bytes: Uint8Array): void {
    restoreRegisters(this.#registers, bytes, this.capability);
    this.#sequencer.cancel();
    this.#global.resume();
    this.#recorder.resume();
    this.#protected.renew();
    this.#sequencer.request(this.#renewal);
    this.#sequencer.request(this.#protected);
    if (this.#context.busy) this.#sequencer.request(this.#context);
    if (this.#iotlb.busy) this.#sequencer.request(this.#iotlb);
    this.#sequencer.request(this.#queue);
  }

  /** As after power-on: every requester's requests pass untranslated, and no record is left. */
  reset(): void {
    this.#sequencer.cancel();
    this.#registers.reset();
    this.#queue.disable();
    this.#global.reset();
    this.#recorder.restart();
    this.#sequencer.request(this.#renewal);
    this.#sequencer.request(this.#protected);
  }

  #views(options: RequesterSpaceOptions): RequesterViews<RequesterSpace> {
    return {
      name: this.name,
      memory: this.memory,
      hasPasids: this.capability.PASID,
      isTranslating: () => this.translationEnabled,
      make: (requester) => {
        const space = new RequesterSpace(this, requester, options);
        const { ranges } = this.#protected;
        if (ranges.length > 0) space.setProtected(ranges);
        return space;
      },
    };
  }
}

function everything(): InvalidationBatch {
  const batch = new InvalidationBatch();
  batch.everyStructure = true;
  return batch;
}

function spaceOptions({ budget, iotlb, sendInterrupt }: VtdIommuOptions): RequesterSpaceOptions {
  return {
    interrupt: (address, data) => {
      sendInterrupt?.(address, readLittleEndian(data));
      return true;
    },
    ...(budget === undefined ? {} : { budget }),
    ...(iotlb === undefined ? {} : { iotlb }),
  };
}
