/** A fault with the specification's words for it. */
export interface FaultWords {
  /** Its number, under which the guest is told. */
  readonly code: number;
  /** The specification's name of the condition, such as `LGN.2`. */
  readonly condition: string;
  /** One sentence. */
  readonly reason: string;
}

/** `LCT.2 (0x02): The context entry is not present.` */
export function faultLine({ code, condition, reason }: FaultWords): string {
  return `${condition} (0x${code.toString(16).padStart(2, '0')}): ${reason}`;
}
