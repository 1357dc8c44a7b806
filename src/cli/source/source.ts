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
import type { GuestMemory } from '../../machine/index.ts';
import type { CoreModel, RegisterValue } from '../models/core-model.ts';
import type { GuestModel } from '../models/guest-model.ts';
import type { OpenIommu } from '../models/open-iommu.ts';
import { modelNamed, modelNames, MODELS } from '../models/models.ts';
import { UsageError } from '../terminal/exit-codes.ts';
import { capturedMemory, ramOfCore } from './captured-memory.ts';

/** What the command line says about a source besides its path. */
export interface SourceOptions {
  /** Kind of IOMMU; needed for an ELF core. */
  readonly model?: string;
  /** Registers of an ELF core, by the names of their options. */
  readonly registers?: ReadonlyMap<string, RegisterValue>;
  /** The state of a capture after its events. */
  readonly final?: boolean;
  /** Requests with this PASID are to be looked at. */
  readonly pasid?: number;
}

/** A stopped guest with its IOMMU. */
export interface Source {
  /** One line for people. */
  readonly title: string;
  readonly model: GuestModel;
  readonly unit: OpenIommu;
  /** undefined for an ELF core. */
  readonly capture: Capture | undefined;
}

/** What of a capture to open, and how. */
export interface OpenCaptureOptions {
  /** The state after the events instead of the one at the plug. */
  readonly final?: boolean;
  /**
   * The guest will not run again, so that it can be replayed whatever it would have to report; when left out, true
   * for a capture without events.
   */
  readonly guestStopped?: boolean;
  /** Whether translations are cached; true when left out. */
  readonly iotlb?: boolean;
}

/** A capture with its IOMMU on its memory. Registers are not placed in the tree. */
export interface OpenCapture extends GuestMemory {
  readonly capture: Capture;
  readonly model: GuestModel;
  readonly unit: OpenIommu;
  /** Whether it was opened as a guest that will not run again. */
  readonly stopped: boolean;
}

/**
 * Opens what `path` names, as a guest that will not run again.
 *
 * @throws GuestFileError for a file that is missing or wrong; UsageError for options that do not fit it
 */
export async function openSource(path: string, options: SourceOptions): Promise<Source> {
  const info = await stat(path).catch(() => undefined);
  const isCore = info !== undefined && !info.isDirectory();
  const source = await (isCore ? openCore(path, options) : openFolder(path, options));
  if (options.pasid !== undefined && !source.model.hasPasids) {
    throw new UsageError(
      `requests with PASID are not modelled for ${source.model.title}`,
      'leave --pasid out',
    );
  }
  return source;
}

async function openFolder(path: string, options: SourceOptions): Promise<Source> {
  const { final = false } = options;
  const [stray] = options.registers?.keys() ?? [];
  if (stray !== undefined) {
    throw new UsageError(`--${stray} is for ELF cores, and a capture has its own registers`, 'leave it out');
  }
  const { capture, model, unit } = await openCapture(path, { final, guestStopped: true, iotlb: false });
  if (options.model !== undefined && !model.names.includes(options.model)) {
    const problem = `--model ${quote(options.model)} does not fit a capture of ${quote(capture.model)}`;
    throw new UsageError(problem, 'leave it out');
  }
  const title = `${capture.name}: ${capture.description}${final ? ', after the events' : ''}`;
  return { title, model, unit, capture };
}

async function openCore(path: string, options: SourceOptions): Promise<Source> {
  if (basename(path) === 'capture.json') {
    throw new UsageError(`${quote(path)} is a file in a capture`, `name its folder: ${dirname(path)}`);
  }
  if (options.final === true) {
    throw new UsageError('--final is for captures, and an ELF core has one state', 'leave it out');
  }
  const { model, core, values } = coreModel(path, options);
  const elf = await loadElfCore(path);
  const { memory } = capturedMemory(ramOfCore(elf), elf, path);
  return { title: `${path}: ELF core`, model, unit: core.open(memory, values), capture: undefined };
}

/** The model of a core with the registers that a person gave. */
function coreModel(
  path: string,
  { model: name, registers: values = new Map<string, RegisterValue>() }: SourceOptions,
): { model: GuestModel; core: CoreModel; values: ReadonlyMap<string, RegisterValue> } {
  const readable = MODELS.filter(({ core }) => core !== undefined);
  const model = name === undefined ? undefined : modelNamed(name);
  if (name !== undefined && model === undefined) {
    throw new UsageError(`--model ${quote(name)} is not emulated`, `supported: ${modelNames(readable)}`);
  }
  if (model !== undefined && model.core === undefined) {
    const problem = `an ELF core does not hold the mappings of ${model.title}, which has no tables in memory`;
    throw new UsageError(problem, 'name the folder of a capture');
  }
  const core = model?.core;
  const missing = core?.registers.some(({ needed, option }) => needed !== undefined && !values.has(option));
  if (model === undefined || core === undefined || missing === true) {
    const usages = (model === undefined ? readable : [model]).map(usage).join(' or ');
    throw new UsageError(
      `${quote(path)} is a file, so it is read as an ELF core, which says nothing about the IOMMU`,
      `add ${usages}, or name the folder of a capture`,
    );
  }
  const foreign = [...values.keys()].find((key) => !core.registers.some(({ option }) => option === key));
  if (foreign !== undefined) {
    throw new UsageError(`--${foreign} is no register of ${model.title}`, 'leave it out');
  }
  return { model, core, values };
}

/** What a core of `model` needs on the command line. */
function usage({ names, core }: GuestModel): string {
  const needed = core?.registers.filter((register) => register.needed !== undefined) ?? [];
  const options = needed.map(({ option }) => ` --${option} 0x...`).join('');
  return `--model ${names[0]}${options} (${needed.map((register) => register.needed).join(', ')})`;
}

/**
 * Reads a capture and builds its memory and its IOMMU.
 *
 * @throws GuestFileError for everything that is missing or wrong, a model that is not emulated included
 */
export async function openCapture(folder: string, options: OpenCaptureOptions = {}): Promise<OpenCapture> {
  const { final = false, iotlb = true } = options;
  const capture = await readCapture(folder);
  const { guestStopped = !capture.hasEvents } = options;
  const file = join(folder, 'capture.json');
  const model = modelNamed(capture.model);
  if (model === undefined) {
    throw new GuestFileError({
      code: 'capture',
      file,
      place: '$.iommu.model',
      problem: `the model ${quote(capture.model)} is not emulated`,
      remedy: `use a capture of a supported model: ${modelNames()}`,
    });
  }
  const core = model.hasTables ? await memoryOf(capture, final, file) : undefined;
  const machine = capturedMemory(capture.ram, core, file);
  const { memory } = machine;
  const unit = await model.openCapture({ capture, file, memory, final, guestStopped, iotlb });
  return { ...machine, capture, model, unit, stopped: guestStopped };
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
