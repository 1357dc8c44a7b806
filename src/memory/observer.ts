/** One thing that happened, for logs, tests and live views. */
export interface ObservedEvent {
  /** Stable name, such as `quarantined` or `dma-fault`. */
  readonly kind: string;
  /** Who reports: the name of a container, an IOMMU, a device. */
  readonly source: string;
  /** One sentence for people: what, where, and the remedy where there is one. */
  readonly message: string;
  /** The figures behind the sentence; addresses are byte addresses. */
  readonly details?: Readonly<Record<string, string | number | bigint>>;
}

/** Hears what happens. Passed where it is wanted and called as `observer?.observe(...)`, so silence costs nothing. Must not throw. */
export interface Observer {
  observe(event: ObservedEvent): void;
}
