# The same figures for Sidekiq. As `-r` of its server: a job that does nothing, and one that tells how
# long after it was added it starts. By itself: `add COUNT`, `latency COUNT GAP`, `await COUNT`.
require "sidekiq"
require "sidekiq/api"
require "json"

url = { url: ENV.fetch("BENCH_REDIS") }
Sidekiq.configure_client { |config| config.redis = url }
Sidekiq.configure_server { |config| config.redis = url }
Sidekiq.logger.level = Logger::WARN

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC, :float_millisecond)
end

class Nothing
  include Sidekiq::Worker
  def perform(_number); end
end

class Timed
  include Sidekiq::Worker
  def perform(added)
    Sidekiq.redis { |redis| redis.rpush("bench:times", now - added) }
  end
end

if $PROGRAM_NAME == __FILE__
  count = ARGV[1].to_i
  case ARGV[0]
  when "add"
    (0...count).each_slice(1000) do |part|
      Sidekiq::Client.push_bulk("class" => Nothing, "args" => part.map { |number| [number] })
    end
  when "latency"
    count.times do
      sleep ARGV[2].to_f / 1000
      Timed.perform_async(now)
    end
  when "await"
    sleep 0.005 until Sidekiq::Stats.new.processed >= count
  when "times"
    sleep 0.01 until Sidekiq.redis { |redis| redis.llen("bench:times") } >= count
    times = Sidekiq.redis { |redis| redis.lrange("bench:times", 0, -1) }.map(&:to_f).sort
    puts({ p50_ms: times[count / 2].round(2), p99_ms: times[count * 99 / 100].round(2) }.to_json)
  end
end
