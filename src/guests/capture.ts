/**
 * Captures: real guests, stopped, with their IOMMU's registers and tables and with what QEMU replayed from them.
 * docs/capture-format.md has the format.
 *
 * @example
 * ```ts
 * const capture = await readCapture('captures/vtd-legacy-e1000');
 * const memory = await capture.memory();
 * const replayed = await capture.replay();
 * ```
 *
 * @module
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { PageRange } from '../memory/index.ts';
import {
  type CaptureEvent,
  type CaptureLine,
  type CaptureMap,
  type CaptureMapping,
  parseEvent,
  parseMap,
  parseMapping,
} from './capture-lines.ts';
import {
  type CapturedFunction,
  type CaptureRegisters,
  capturedFunction,
  type QemuTiming,
  ramRanges,
  registerDump,
} from './capture-machine.ts';
import { readLines } from './capture-ndjson.ts';
import { type CaptureRequest, parseRequest } from './capture-requests.ts';
import type { CaptureFilesJson, CaptureJson } from './capture-schema.ts';
import { type ElfCore, loadElfCore } from './elf-core.ts';
import { GuestFileError, quote } from './guest-file-error.ts';
import { asGuestFileError, contentOf, inspectFile } from './input-file.ts';

const MAX_JSON_BYTES = 16 * 1024 * 1024;

/**
 * A capture folder. What capture.json says is at hand; the files are read anew at each call, so keep the result.
 * A reader gives undefined for what the capture does not have, and throws GuestFileError for what is there and wrong.
 */
export class Capture {
  /** The folder as the caller named it. */
  readonly folder: string;
  readonly name: string;
  readonly description: string;
  /** Kind of IOMMU, as the file spells it; whether anything here emulates it is for others to say. */
  readonly model: string;
  /** undefined where the IOMMU has no registers (virtio). */
  readonly registers: CaptureRegisters | undefined;
  /** Guest-physical pages that are RAM, ascending; every other page is not. */
  readonly ram: readonly PageRange[];
  readonly pci: readonly CapturedFunction[];
  /** Requester ID whose address space the plugged device got; null when the capture has no hotplug. */
  readonly plugRequester: string | null;
  /**
   * Requester ID that the events are about: the plugged one, or without a plug the function that the guest's vfio-pci
   * drives. undefined when the capture leaves it open.
   */
  readonly eventsRequester: string | undefined;
  /** Requester IDs that {@link mappings} can list, ascending. */
  readonly requesters: readonly string[];
  readonly qemuTiming: QemuTiming | undefined;
  /** Whether {@link events} has something to give. */
  readonly hasEvents: boolean;

  readonly #files: CaptureFilesJson;
  readonly #listings: ReadonlyMap<string, { readonly field: string; readonly name: string }>;

  /** @param json checked content of capture.json in `folder` */
  constructor(folder: string, json: CaptureJson) {
    const file = join(folder, 'capture.json');
    const { registers, finalRegisters } = json.iommu;
    this.folder = folder;
    this.name = json.name;
    this.description = json.description;
    this.model = json.iommu.model;
    this.registers =
      registers === undefined
        ? undefined
        : { start: registerDump(registers), final: registerDump(finalRegisters ?? registers) };
    this.ram = ramRanges(json.ram, file);
    this.pci = json.pci.map(capturedFunction);
    this.plugRequester = json.plug?.requester.toLowerCase() ?? null;
    this.qemuTiming = json.qemuTiming;
    this.hasEvents = json.files.events !== undefined;
    this.#files = json.files;
    const listings = new Map<string, { field: string; name: string }>();
    for (const [requester, name] of Object.entries(json.files.mappingsByRequester ?? {})) {
      listings.set(requester.toLowerCase(), { field: `mappingsByRequester[${quote(requester)}]`, name });
    }
    if (this.plugRequester !== null && json.files.mappings !== undefined) {
      listings.set(this.plugRequester, { field: 'mappings', name: json.files.mappings });
    }
    this.#listings = listings;
    this.requesters = [...listings.keys()].sort();
    this.eventsRequester = this.plugRequester ?? this.#drivenByVfio();
  }

  /** The pages that the IOMMU's structures occupied when the guest was stopped. */
  memory(): Promise<ElfCore | undefined> {
    return this.#read('memory', this.#files.memory, loadElfCore);
  }

  /** The same after the events. */
  finalMemory(): Promise<ElfCore | undefined> {
    return this.#read('finalMemory', this.#files.finalMemory, loadElfCore);
  }

  /**
   * What the tables held for a requester, one record a leaf, ascending, as an independent walker read them.
   *
   * @param requester as in {@link requesters}; when absent, the one that the capture is about
   */
  mappings(requester?: string): Promise<CaptureMapping[] | undefined> {
    const listing = this.#listings.get(requester?.toLowerCase() ?? this.eventsRequester ?? '');
    return this.#read(listing?.field ?? 'mappings', listing?.name, readMappings);
  }

  /** What the tables held for the requester of the events after them, ascending. */
  finalMappings(): Promise<CaptureMapping[] | undefined> {
    return this.#read('finalMappings', this.#files.finalMappings, readMappings);
  }

  /** What QEMU sent at the plug, in its order. It tells only read-only from the rest: a write-only leaf is rw here. */
  replay(): Promise<CaptureMap[] | undefined> {
    return this.#read('replay', this.#files.replay, (path) => readLines(path, parseMap));
  }

  /** What QEMU sent after that, in order; without a plug, all it sent since boot. */
  events(): Promise<CaptureEvent[] | undefined> {
    return this.#read('events', this.#files.events, (path) => readLines(path, parseEvent));
  }

  /** The requests of a guest whose IOMMU has no tables (virtio), in order, as recorded. */
  requests(): Promise<CaptureRequest[] | undefined> {
    return this.#read('requests', this.#files.requests, (path) => readLines(path, parseRequest));
  }

  /**
   * The registers, for a model that needs at least `bytes` of them.
   *
   * @throws GuestFileError when the capture has none or a dump is shorter
   */
  requireRegisters(bytes: number): CaptureRegisters {
    const file = join(this.folder, 'capture.json');
    const remedy = 'record the capture again with the whole register file';
    const { registers } = this;
    if (registers === undefined) {
      const problem = `it has no register dump, which ${quote(this.model)} needs`;
      throw new GuestFileError({ code: 'capture', file, place: '$.iommu.registers', problem, remedy });
    }
    for (const [field, dump] of [
      ['registers', registers.start],
      ['finalRegisters', registers.final],
    ] as const) {
      if (dump.bytes.length < bytes) {
        const problem = `the register dump has ${dump.bytes.length} bytes, but ${bytes} are needed`;
        throw new GuestFileError({ code: 'capture', file, place: `$.iommu.${field}.hex`, problem, remedy });
      }
    }
    return registers;
  }

  #drivenByVfio(): string | undefined {
    const driven = this.pci.filter(({ bdf, driver }) => driver === 'vfio-pci' && this.#listings.has(bdf));
    return driven.length === 1 ? driven[0]?.bdf : undefined;
  }

  async #read<T>(
    field: string,
    name: string | undefined,
    read: (path: string) => Promise<T>,
  ): Promise<T | undefined> {
    if (name === undefined) {
      return undefined;
    }
    try {
      return await read(join(this.folder, name));
    } catch (error) {
      if (error instanceof GuestFileError && error.code === 'not-found') {
        throw new GuestFileError({
          code: 'not-found',
          file: error.file,
          place: `$.files.${field} of capture.json`,
          problem: 'the capture names this file, but it does not exist',
          remedy: 'copy the whole folder of the capture',
          cause: error,
        });
      }
      throw error;
    }
  }
}

/**
 * Reads capture.json of a capture folder; the other files are read when they are asked for.
 *
 * @throws GuestFileError when there is no such folder, or when capture.json is not what the format asks for
 */
export async function readCapture(folder: string): Promise<Capture> {
  await requireFolder(folder);
  const file = join(folder, 'capture.json');
  const value = parseJson(await readText(file), file);
  const { checkCaptureJson } = await import('./capture-schema.ts');
  return new Capture(folder, checkCaptureJson(value, file));
}

async function requireFolder(folder: string): Promise<void> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(folder)).isDirectory();
  } catch (error) {
    throw asGuestFileError(error, folder);
  }
  if (!isFolder) {
    throw new GuestFileError({
      code: 'not-found',
      file: folder,
      problem: 'is a file where the folder of a capture is expected',
      remedy: 'name the folder that holds capture.json',
    });
  }
}

async function readText(file: string): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of contentOf(await inspectFile(file, MAX_JSON_BYTES))) {
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString('utf8');
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new GuestFileError({
      code: 'json',
      file,
      problem: `is not JSON (${error instanceof Error ? error.message : String(error)})`,
      remedy: 'copy the file again or record the capture again',
      cause: error,
    });
  }
}

async function readMappings(path: string): Promise<CaptureMapping[]> {
  let end = 0;
  return await readLines(path, (line: CaptureLine) => {
    const mapping = parseMapping(line);
    if (mapping.iova < end) {
      throw new GuestFileError({
        code: 'capture',
        file: path,
        place: `line ${line.number}, field iova`,
        problem: 'this mapping begins before the end of the one on the line before',
        remedy: 'list each leaf once, ascending',
      });
    }
    end = mapping.iova + mapping.pages;
    return mapping;
  });
}
