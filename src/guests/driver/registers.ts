/** How a driver reaches a unit's registers. A model is one; behind another a unit may answer later. */
export interface RegisterAccess {
  /** The 32-bit or 64-bit register at byte `offset` of the register set. */
  readRegister(offset: number, bytes: 4 | 8): bigint;
  /** Writes it. What the write sets off may complete later. */
  writeRegister(offset: number, value: bigint, bytes: 4 | 8): void;
}

/** Resolves, or returns, when the unit has done everything that it was told to. */
export type Settled = () => void | Promise<void>;
