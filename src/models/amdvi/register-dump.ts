/** Registers of a stopped guest, as a dump of the MMIO space holds them: little-endian bytes from offset 0. @module */
import { RegisterDumpError } from '../register-dump-error.ts';
import type { RegisterFile } from '../register-file.ts';
import * as spec from './spec/index.ts';

/** Up to and including Extended Feature: enough to know the IOMMU and its tables. */
const STATE_BYTES = spec.EXTENDED_FEATURE + 8;

/**
 * The capabilities that a dump and the header of the PCI capability block report. Throws RegisterDumpError when the dump
 * ends before the Extended Feature Register does.
 */
export function capabilityOfDump(bytes: Uint8Array, header: number): spec.Capability {
  if (bytes.length < STATE_BYTES) {
    throw new RegisterDumpError(
      `the register dump has ${bytes.length} bytes and ends before the Extended Feature Register at ` +
        `0x${spec.EXTENDED_FEATURE.toString(16)} does: save the registers from offset 0 to 0x2028, or at least ` +
        `${STATE_BYTES} bytes`,
    );
  }
  const word = wordsOf(bytes);
  return spec.decodeCapability(header, [word(spec.EXTENDED_FEATURE), word(spec.EXTENDED_FEATURE + 4)]);
}

/**
 * Puts the registers of `bytes` into `registers`; those that the dump does not reach are as after a reset. Returns
 * whether Status was among them. Throws RegisterDumpError, and changes nothing, when the dump is too short or is of an
 * IOMMU with other capabilities.
 */
export function restoreRegisters(
  registers: RegisterFile,
  bytes: Uint8Array,
  capability: spec.Capability,
): boolean {
  const dumped = capabilityOfDump(bytes, spec.encodeCapabilityHeader(capability));
  for (const name of Object.keys(capability) as (keyof spec.Capability)[]) {
    if (dumped[name] === capability[name]) continue;
    throw new RegisterDumpError(
      `the register dump is of an IOMMU with ${name} ${dumped[name]} instead of ${capability[name]}: build the IOMMU ` +
        'from the dump (AmdviIommu.fromRegisters)',
    );
  }
  const word = wordsOf(bytes);
  registers.reset();
  for (const { offset } of registers.words) {
    const known = offset !== spec.EXTENDED_FEATURE && offset !== spec.EXTENDED_FEATURE + 4;
    if (known && offset + 4 <= bytes.length) registers.set(offset, word(offset));
  }
  return bytes.length >= spec.STATUS + 4;
}

function wordsOf(bytes: Uint8Array): (offset: number) => number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return (offset) => view.getUint32(offset, true);
}
