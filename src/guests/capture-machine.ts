/**
 * The machine of a capture: its RAM, PCI functions and IOMMU registers, from hexadecimal text to values.
 *
 * @module
 */
import { type PageRange, PAGES_END } from '../memory/index.ts';
import { pageOfHex } from './capture-lines.ts';
import type { CaptureJson, PciFunctionJson, RegistersJson } from './capture-schema.ts';
import { GuestFileError } from './guest-file-error.ts';

/** The registers of an IOMMU as they stood. */
export interface RegisterDump {
  /** Guest-physical byte address of offset 0. */
  readonly base: bigint;
  /** The bytes from offset 0. */
  readonly bytes: Uint8Array;
}

/** The registers when the guest was stopped for the plug, and after the events. */
export interface CaptureRegisters {
  readonly start: RegisterDump;
  /** The same as `start` when the capture has no dump of its own for the end. */
  readonly final: RegisterDump;
}

/** A PCI function of the captured machine. */
export interface CapturedFunction {
  /** Bus:device.function, lower case, as `02:01.0`. */
  readonly bdf: string;
  readonly vendor: number;
  readonly device: number;
  /** Class code, 24 bits: base class, sub-class, programming interface. */
  readonly class: number;
  /** Number of its IOMMU group in the guest; null when it has none. */
  readonly group: string | null;
  /** The guest's driver; null when none is bound. */
  readonly driver: string | null;
}

/** How long QEMU's own replay took, into a minimal server. */
export interface QemuTiming {
  readonly maps: number;
  /** Milliseconds that device_add took. */
  readonly deviceAddMs: number;
  /** Milliseconds from the first map to the last. */
  readonly firstToLastMapMs: number;
}

/** A checked dump as bytes. */
export function registerDump({ base, hex }: RegistersJson): RegisterDump {
  return { base: BigInt(base), bytes: new Uint8Array(Buffer.from(hex, 'hex')) };
}

/** A checked PCI function with numbers for its IDs. */
export function capturedFunction(json: PciFunctionJson): CapturedFunction {
  return {
    bdf: json.bdf.toLowerCase(),
    vendor: Number(json.vendor),
    device: Number(json.device),
    class: Number(json.class),
    group: json.group,
    driver: json.driver,
  };
}

/**
 * Ranges of RAM as pages, ascending.
 *
 * @throws GuestFileError for ranges that are empty, no whole pages, beyond 2^64, or overlapping
 */
export function ramRanges(json: CaptureJson['ram'], file: string): PageRange[] {
  const ranges = json.map(({ gpa, size }, index) => {
    const start = pageOfHex(gpa);
    const pages = pageOfHex(size);
    if (start === undefined || pages === undefined || pages === 0 || start + pages > PAGES_END) {
      const problem = `RAM at ${gpa} of ${size} bytes is not a run of whole 4 KiB pages below 2^64`;
      throw ramError(file, index, problem);
    }
    return { start, end: start + pages, index };
  });
  ranges.sort((a, b) => a.start - b.start);
  let end = 0;
  return ranges.map((range) => {
    if (range.start < end) {
      throw ramError(file, range.index, 'this range overlaps another one');
    }
    end = range.end;
    return { start: range.start, end };
  });
}

function ramError(file: string, index: number, problem: string): GuestFileError {
  const remedy = 'list each range of RAM once, in whole pages';
  return new GuestFileError({ code: 'capture', file, place: `$.ram[${index}]`, problem, remedy });
}
