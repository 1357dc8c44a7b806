/** The numbers of the commands. Source: vfio-user, "Commands" (14 is not used). */
export const Command = {
  VERSION: 1,
  DMA_MAP: 2,
  DMA_UNMAP: 3,
  DEVICE_GET_INFO: 4,
  DEVICE_GET_REGION_INFO: 5,
  DEVICE_GET_REGION_IO_FDS: 6,
  DEVICE_GET_IRQ_INFO: 7,
  DEVICE_SET_IRQS: 8,
  REGION_READ: 9,
  REGION_WRITE: 10,
  DMA_READ: 11,
  DMA_WRITE: 12,
  DEVICE_RESET: 13,
  REGION_WRITE_MULTI: 15,
  DEVICE_FEATURE: 16,
  MIG_DATA_READ: 17,
  MIG_DATA_WRITE: 18,
} as const;

/** One of {@link Command}. */
export type CommandNumber = (typeof Command)[keyof typeof Command];

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(Command).map(([name, number]) => [number, name]),
);

/** The command's name in the specification without `VFIO_USER_`, such as `DMA_MAP`; `command 99` for one that it does not have. */
export function commandName(command: number): string {
  return NAMES.get(command) ?? `command ${command}`;
}
