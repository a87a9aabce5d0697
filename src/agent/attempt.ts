/** Work after which other work goes on, though it may fail. */
export interface Attempt {
  /** Number of entries written. */
  readonly writes: number;
  /** Throws what the work threw. */
  settle(): void;
}

export function attempt(work: () => number): Attempt {
  try {
    return { writes: work(), settle: () => undefined };
  } catch (error) {
    return {
      writes: 0,
      settle: () => {
        throw error;
      },
    };
  }
}
