import type { MemoryListener, MemorySection } from '../../src/memory/index.ts';

/** Writes down what it is told, as `+start-end name@offset` and `-...`; `committed` as `.`. */
export class LoggingListener implements MemoryListener {
  readonly log: string[] = [];
  /** Called with each line after it was written. */
  hook: ((line: string) => void) | undefined;

  sectionAdded(section: MemorySection): void {
    this.#write(`+${describeSection(section)}`);
  }

  sectionRemoved(section: MemorySection): void {
    this.#write(`-${describeSection(section)}`);
  }

  committed(): void {
    this.#write('.');
  }

  /** The log since the last call. */
  take(): string[] {
    return this.log.splice(0);
  }

  #write(line: string): void {
    this.log.push(line);
    this.hook?.(line);
  }
}

/** `start-end name@offset`. */
export function describeSection({ start, end, region, offset }: MemorySection): string {
  return `${start}-${end} ${region.name}@${offset}`;
}
