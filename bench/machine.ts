import { availableParallelism, cpus, release, totalmem, type } from 'node:os';

/** Where the figures come from. */
export interface MachineDescription {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  /** The C compiler's first line, or why there is no C floor. */
  readonly c: string;
}

/** This machine, with what is known of its C compiler. */
export function describeMachine(c: string): MachineDescription {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    node: process.version,
    c,
  };
}

/** One line for people. */
export function formatMachine(machine: MachineDescription): string {
  const { cpu, cores, memoryGiB, system, node, c } = machine;
  return `${cpu}, ${cores} cores, ${memoryGiB} GiB; ${system}; Node ${node}; C: ${c}`;
}
