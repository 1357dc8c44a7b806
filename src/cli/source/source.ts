/** From what a person names (a capture folder, an ELF core) to a guest whose IOMMU can be asked. @module */
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import {
  type Capture,
  type ElfCore,
  GuestFileError,
  loadElfCore,
  quote,
  readCapture,
} from '../../guests/index.ts';
import { type AddressSpace } from '../../memory/index.ts';
import {
  capabilityOfDump,
  RegisterDumpError,
  VtdIommu,
  type VtdIommuOptions,
  type Words,
} from '../../models/vtd/index.ts';
import { coreRegisters } from './core-registers.ts';
import { UsageError } from '../terminal/exit-codes.ts';
import type { GuestMemory } from '../../machine/index.ts';
import { capturedMemory, ramOfCore } from './captured-memory.ts';

/** Kinds of IOMMU that are emulated here, as captures and `--model` spell them. */
export const MODELS: readonly string[] = ['vtd'];

/** Registers up to the end of ECAP_REG: without them there is no saying what unit it is. */
const LEAST_REGISTER_BYTES = 0x18;
/** Most address bits that any structure has room for. */
const WIDEST_ADDRESSES = 52;
/** Address bits of a platform whose unit reports fewer for its devices. */
const USUAL_ADDRESSES = 48;

/** What the command line says about a source besides its path. */
export interface SourceOptions {
  /** Kind of IOMMU; needed for an ELF core. */
  readonly model?: string;
  /** RTADDR_REG of an ELF core; needed for one. */
  readonly rtaddr?: Words;
  /** CAP_REG and ECAP_REG of an ELF core; when absent, a unit that can do everything. */
  readonly cap?: Words;
  readonly ecap?: Words;
  /** The state of a capture after its events. */
  readonly final?: boolean;
}

/** A stopped guest with a VT-d unit. */
export interface Source {
  /** One line for people. */
  readonly title: string;
  readonly iommu: VtdIommu;
  /** undefined for an ELF core. */
  readonly capture: Capture | undefined;
}

/** What of a capture to open, and how its unit is to be built. */
export interface OpenCaptureOptions
  extends Pick<VtdIommuOptions, 'budget' | 'guestStopped' | 'iotlb' | 'observer' | 'sendInterrupt'> {
  /** The state after the events instead of the one at the plug. */
  readonly final?: boolean;
}

/** A capture with its unit on its memory. The unit's registers are not placed in the tree. */
export interface OpenCapture extends GuestMemory {
  readonly capture: Capture;
  readonly iommu: VtdIommu;
}

/**
 * Opens what `path` names, as a guest that will not run again.
 *
 * @throws GuestFileError for a file that is missing or wrong; UsageError for options that do not fit it
 */
export async function openSource(path: string, options: SourceOptions): Promise<Source> {
  const info = await stat(path).catch(() => undefined);
  return info === undefined || info.isDirectory() ? openFolder(path, options) : openCore(path, options);
}

async function openFolder(path: string, options: SourceOptions): Promise<Source> {
  const { final = false } = options;
  const stray = (['rtaddr', 'cap', 'ecap'] as const).find((name) => options[name] !== undefined);
  if (stray !== undefined) {
    throw new UsageError(`--${stray} is for ELF cores, and a capture has its own registers`, 'leave it out');
  }
  const { capture, iommu } = await openCapture(path, { final, guestStopped: true, iotlb: false });
  if (options.model !== undefined && options.model !== capture.model) {
    const problem = `--model ${quote(options.model)} does not fit a capture of ${quote(capture.model)}`;
    throw new UsageError(problem, 'leave it out');
  }
  return {
    title: `${capture.name}: ${capture.description}${final ? ', after the events' : ''}`,
    iommu,
    capture,
  };
}

async function openCore(path: string, options: SourceOptions): Promise<Source> {
  if (basename(path) === 'capture.json') {
    throw new UsageError(`${quote(path)} is a file in a capture`, `name its folder: ${dirname(path)}`);
  }
  if (options.final === true) {
    throw new UsageError('--final is for captures, and an ELF core has one state', 'leave it out');
  }
  if (options.model === undefined || options.rtaddr === undefined) {
    throw new UsageError(
      `${quote(path)} is a file, so it is read as an ELF core, which says nothing about the IOMMU`,
      'add --model vtd --rtaddr 0x... (what RTADDR_REG held), or name the folder of a capture',
    );
  }
  if (!MODELS.includes(options.model)) {
    throw new UsageError(
      `--model ${quote(options.model)} is not emulated`,
      `supported: ${MODELS.join(', ')}`,
    );
  }
  const core = await loadElfCore(path);
  const { memory } = capturedMemory(ramOfCore(core), core, path);
  const bytes = coreRegisters(options.rtaddr, options.cap, options.ecap);
  try {
    const iommu = VtdIommu.fromRegisters({
      memory,
      bytes,
      haw: WIDEST_ADDRESSES,
      guestStopped: true,
      iotlb: false,
    });
    return { title: `${path}: ELF core`, iommu, capture: undefined };
  } catch (error) {
    if (!(error instanceof RegisterDumpError)) throw error;
    throw new UsageError(`--cap and --ecap describe no usable unit (${error.message})`, 'check both values');
  }
}

/**
 * Reads a capture and builds its memory and its unit.
 *
 * @throws GuestFileError for everything that is missing or wrong, a model that is not emulated included
 */
export async function openCapture(folder: string, options: OpenCaptureOptions = {}): Promise<OpenCapture> {
  const { final = false, ...unit } = options;
  const capture = await readCapture(folder);
  const file = join(folder, 'capture.json');
  if (!MODELS.includes(capture.model)) {
    throw new GuestFileError({
      code: 'capture',
      file,
      place: '$.iommu.model',
      problem: `the model ${quote(capture.model)} is not emulated`,
      remedy: `use a capture of a supported model: ${MODELS.join(', ')}`,
    });
  }
  const registers = capture.requireRegisters(LEAST_REGISTER_BYTES);
  const { bytes } = final ? registers.final : registers.start;
  const machine = capturedMemory(capture.ram, await memoryOf(capture, final, file), file);
  const iommu = restoredUnit(machine.memory, bytes, unit, file, final);
  return { ...machine, capture, iommu };
}

async function memoryOf(capture: Capture, final: boolean, file: string): Promise<ElfCore> {
  const core = await (final ? capture.finalMemory() : capture.memory());
  if (core !== undefined) return core;
  const field = final ? 'finalMemory' : 'memory';
  throw new GuestFileError({
    code: 'capture',
    file,
    place: `$.files.${field}`,
    problem: `the capture has no memory ${final ? 'of the state after its events' : 'of the stopped guest'}`,
    remedy: final ? 'leave --final out, or use a capture that has it' : 'record the capture again with it',
  });
}

function restoredUnit(
  memory: AddressSpace,
  bytes: Uint8Array,
  options: Omit<OpenCaptureOptions, 'final'>,
  file: string,
  final: boolean,
): VtdIommu {
  try {
    // No register says how wide the platform's addresses are; what the unit gives its devices is at most that.
    const haw = Math.min(WIDEST_ADDRESSES, Math.max(USUAL_ADDRESSES, capabilityOfDump(bytes).MGAW));
    return VtdIommu.fromRegisters({ ...options, memory, bytes, haw });
  } catch (error) {
    if (!(error instanceof RegisterDumpError)) throw error;
    throw new GuestFileError({
      code: 'capture',
      file,
      place: `$.iommu.${final ? 'finalRegisters' : 'registers'}.hex`,
      problem: error.message,
      remedy: 'record the capture again with the whole register file',
      cause: error,
    });
  }
}
