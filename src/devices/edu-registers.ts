/** Register layout of QEMU's teaching device `edu` (docs/specs/edu.rst), and what viommu's has beyond it. @module */

/** Offsets in BAR 0. Those below 0x80 are 4 bytes, the others 8. */
export const EduRegister = {
  /** Read-only: {@link EDU_IDENTIFICATION}. */
  Identification: 0x00,
  /** Reads as the inverse of what was written. */
  Liveness: 0x04,
  /** Written: the number; read: its factorial modulo 2^32, when {@link EduStatus.Computing} is clear. */
  Factorial: 0x08,
  /** Bits of {@link EduStatus}. */
  Status: 0x20,
  /** Read-only: what raised the interrupt. */
  InterruptStatus: 0x24,
  /** Write-only: sets bits of the interrupt status and raises the interrupt. */
  InterruptRaise: 0x60,
  /** Write-only: clears bits of the interrupt status, and lowers INTx when none is left. */
  InterruptAcknowledge: 0x64,
  /** Where a transfer reads: a DMA address, or a place in the buffer. */
  DmaSource: 0x80,
  /** Where a transfer writes: a place in the buffer, or a DMA address. */
  DmaDestination: 0x88,
  /** Bytes of the transfer. */
  DmaCount: 0x90,
  /** Bits of {@link EduDma}. Of writes without the start bit, and while a transfer runs, nothing is kept. */
  DmaCommand: 0x98,
  /**
   * Read-only, not in QEMU's device, where it reads as all ones: how the last transfer ended. 0: well, or there was
   * none; otherwise the Linux errno, as 14 (EFAULT) for an address that is not mapped.
   */
  DmaError: 0xa0,
} as const;

/** Bits of {@link EduRegister.Status}. */
export const EduStatus = {
  /** Read-only: the factorial is being computed. */
  Computing: 0x01,
  /** Raise {@link EduInterrupt.Factorial} when it is done. */
  InterruptWhenDone: 0x80,
} as const;

/** Bits of {@link EduRegister.DmaCommand}. */
export const EduDma = {
  /** Starts a transfer; clear again when it has ended, well or not. */
  Start: 0x1,
  /** Set: from the buffer to memory; clear: from memory to the buffer. */
  ToMemory: 0x2,
  /** Raise {@link EduInterrupt.Dma} when it has ended, well or not. */
  InterruptWhenDone: 0x4,
} as const;

/** Bits of {@link EduRegister.InterruptStatus} that the device sets by itself. */
export const EduInterrupt = { Factorial: 0x1, Dma: 0x100 } as const;

/** Version 1.0 of `edu`. */
export const EDU_IDENTIFICATION = 0x0100_00ed;

/** Where the buffer is for transfers. BAR accesses do not reach it. */
export const EDU_BUFFER_START = 0x4_0000n;

/** Bytes of the buffer. */
export const EDU_BUFFER_BYTES = 4096;
