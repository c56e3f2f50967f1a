import org.apache.spark.sql.SparkSession;

/** Counts as far as it is told; fails where that is no number. */
public class Count {
    public static void main(String[] args) {
        long end = Long.parseLong(args[0]);
        SparkSession spark = SparkSession.builder().getOrCreate();
        System.out.println("counted " + spark.range(end).count());
        spark.stop();
    }
}
