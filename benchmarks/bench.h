#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "benchmarks/device.h"
#include "benchmarks/passes.h"

namespace slice::bench {

/// Microseconds of one run: the median, and the 10th and 90th percentile.
struct Timing {
  double median_us = 0;
  double low_us = 0;
  double high_us = 0;
  int samples = 0;

  double spread() const { return (high_us - low_us) / median_us; }
};

inline Timing summarise(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double share) {
    return samples[static_cast<size_t>(share * static_cast<double>(samples.size() - 1) + 0.5)];
  };
  return {at(0.5), at(0.1), at(0.9), static_cast<int>(samples.size())};
}

/// Times work on a stream with CUDA events. The work is captured into a graph once, so that
/// launches cost the same for a kernel and a library; it is a callable that enqueues on the timer's
/// stream and returns whether that went well.
class Timer {
 public:
  explicit Timer(cudaStream_t stream) : stream_(stream), flush_(2 * l2_bytes()), sink_(4) {
    flush_.fill(0);
    check_cuda(cudaEventCreate(&begin_), "cudaEventCreate");
    check_cuda(cudaEventCreate(&end_), "cudaEventCreate");
  }
  ~Timer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  /// Back to back: what fits in the L2 stays there. One sample is a batch of runs, at least 200 µs
  /// of them.
  template <typename Work>
  Timing hot(Work&& work) {
    const Graph once(stream_, work, 1);
    const double first_us = std::max(0.5, sample(once, false));
    const int runs = static_cast<int>(std::clamp(200.0 / first_us, 1.0, 200.0));
    const Graph many(stream_, work, runs);
    return settle([&] { return sample(many, false) / runs; });
  }

  /// One run after twice the L2's size was read.
  template <typename Work>
  Timing cold(Work&& work) {
    const Graph once(stream_, work, 1);
    return settle([&] { return sample(once, true); });
  }

 private:
  class Graph {
   public:
    template <typename Work>
    Graph(cudaStream_t stream, Work&& work, int runs) {
      if (!work()) throw std::runtime_error("benchmark: the work failed to start");
      check_cuda(cudaStreamSynchronize(stream), "benchmark: warm-up");
      check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "begin capture");
      bool good = true;
      for (int i = 0; i < runs; ++i) good = work() && good;
      cudaGraph_t graph = nullptr;
      check_cuda(cudaStreamEndCapture(stream, &graph), "end capture");
      const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
      cudaGraphDestroy(graph);
      check_cuda(status, "instantiate graph");
      if (!good) throw std::runtime_error("benchmark: the work failed to start");
    }
    ~Graph() { cudaGraphExecDestroy(executable_); }
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;
    cudaGraphExec_t get() const { return executable_; }

   private:
    cudaGraphExec_t executable_ = nullptr;
  };

  static int64_t l2_bytes() {
    int device = 0;
    int bytes = 0;
    check_cuda(cudaGetDevice(&device), "cudaGetDevice");
    check_cuda(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device), "L2 size");
    return std::max(bytes, 1 << 20);
  }

  double sample(const Graph& graph, bool flush) {
    if (flush) {
      // By reading: written lines would cost the next kernel their way back to memory.
      check_cuda(read_pass(sink_.data(), flush_.data(), flush_.bytes(), stream_), "flush the L2");
    }
    check_cuda(cudaEventRecord(begin_, stream_), "record");
    check_cuda(cudaGraphLaunch(graph.get(), stream_), "launch graph");
    check_cuda(cudaEventRecord(end_, stream_), "record");
    check_cuda(cudaEventSynchronize(end_), "benchmark");
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, begin_, end_), "elapsed time");
    return milliseconds * 1000.0;
  }

  // Until the spread is under 2 % of the median or half a second is up.
  template <typename Sample>
  static Timing settle(Sample&& take) {
    for (int i = 0; i < 3; ++i) take();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
    std::vector<double> samples;
    Timing timing;
    do {
      for (int i = 0; i < 10; ++i) samples.push_back(take());
      timing = summarise(samples);
    } while (samples.size() < 500 && (samples.size() < 30 || timing.spread() > 0.02) &&
             std::chrono::steady_clock::now() < deadline);
    return timing;
  }

  cudaStream_t stream_;
  DeviceBuffer flush_;
  DeviceBuffer sink_;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

/// Milliseconds of work that waits for nothing between its launches: the median of `samples`, each
/// timed with events, after one that warms up.
template <typename Work>
double median_ms(cudaStream_t stream, int samples, Work&& work) {
  cudaEvent_t begin = nullptr, end = nullptr;
  check_cuda(cudaEventCreate(&begin), "event");
  check_cuda(cudaEventCreate(&end), "event");
  std::vector<double> times;
  for (int i = 0; i <= samples; ++i) {
    check_cuda(cudaEventRecord(begin, stream), "record");
    work();
    check_cuda(cudaEventRecord(end, stream), "record");
    check_cuda(cudaEventSynchronize(end), "benchmark");
    float time = 0;
    check_cuda(cudaEventElapsedTime(&time, begin, end), "elapsed time");
    if (i > 0) times.push_back(time);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return summarise(times).median_us;
}

/// One measured figure: the columns of docs/results/*.csv in their order, without those of the
/// machine.
struct Row {
  std::string benchmark, model, form, dtype, batch, length, metric;
  double value = 0;
  std::string unit;
  double floor = 0;  // 0: none
  std::string baseline;
  double baseline_value = 0;  // 0: none
  std::string kind = "measured";
};

/// Appends rows to a CSV file, with its header if it is new; the machine's columns are read once.
class Csv {
 public:
  explicit Csv(const std::string& path) {
    const bool is_new = !std::filesystem::exists(path) || std::filesystem::file_size(path) == 0;
    file_.open(path, std::ios::app);
    if (!file_) throw std::runtime_error(path + ": cannot be opened");
    if (is_new) {
      file_ << "benchmark,model,form,dtype,batch,length,metric,value,unit,floor,share,baseline,"
               "baseline_value,ratio,kind,gpu,driver,cuda,libtorch,commit,date\n";
    }
    cudaDeviceProp properties{};
    int device = 0;
    int runtime = 0;
    check_cuda(cudaGetDevice(&device), "cudaGetDevice");
    check_cuda(cudaGetDeviceProperties(&properties, device), "device properties");
    check_cuda(cudaRuntimeGetVersion(&runtime), "runtime version");
    machine_ = std::string(properties.name) + ',' + driver_version() + ',' + version(runtime) +
               ",," + commit() + ',' + today();
  }

  void write(const Row& row) {
    std::ostringstream line;
    line << row.benchmark << ',' << row.model << ',' << row.form << ',' << row.dtype << ','
         << row.batch << ',' << row.length << ',' << row.metric << ',' << row.value << ','
         << row.unit << ',' << optional(row.floor) << ',' << optional(row.floor / row.value) << ','
         << row.baseline << ',' << optional(row.baseline_value) << ','
         << optional(row.baseline_value / row.value) << ',' << row.kind << ',' << machine_;
    file_ << line.str() << '\n' << std::flush;
  }

 private:
  static std::string optional(double value) {
    if (value == 0) return "";
    std::ostringstream text;
    text << value;
    return text.str();
  }
  static std::string version(int number) {
    return std::to_string(number / 1000) + '.' + std::to_string(number % 1000 / 10);
  }
  static std::string driver_version() {
    std::ifstream file("/sys/module/nvidia/version");
    std::string text;
    if (std::getline(file, text) && !text.empty()) return text;
    int number = 0;
    cudaDriverGetVersion(&number);
    return "cuda-" + version(number);
  }
  static std::string commit() {
    const char* value = std::getenv("SLICE_COMMIT");
    return value == nullptr ? "" : value;
  }
  static std::string today() {
    const std::time_t now = std::time(nullptr);
    char text[16];
    std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
    return text;
  }

  std::ofstream file_;
  std::string machine_;
};

}  // namespace slice::bench
