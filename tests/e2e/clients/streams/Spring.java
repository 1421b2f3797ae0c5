// What has written spring.http: Spring WebFlux 6.2.19, Jackson 2.21.4, Tomcat 10.1.56, Java 17.
//
//     java -cp 'jars/*' Spring.java 8000
//     curl -sN --raw -i http://127.0.0.1:8000/events > spring.http

import java.time.Duration;
import org.apache.catalina.startup.Tomcat;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.http.server.reactive.TomcatHttpHandlerAdapter;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.reactive.config.EnableWebFlux;
import org.springframework.web.server.adapter.WebHttpHandlerBuilder;
import reactor.core.publisher.Flux;

@EnableWebFlux
@RestController
public class Spring {
    public record Event(long id, String name) {}

    @GetMapping(path = "/events", produces = "application/stream+json;charset=UTF-8")
    public Flux<Event> events() {
        return Flux.just(
                        new Event(0, "Event 0"),
                        new Event(1, "één\n\"two\""),
                        new Event(2, "}\\n{"),
                        new Event(3, ""))
                .delayElements(Duration.ofMillis(100));
    }

    public static void main(String[] arguments) throws Exception {
        var context = new AnnotationConfigApplicationContext(Spring.class);
        var handler = WebHttpHandlerBuilder.applicationContext(context).build();
        var server = new Tomcat();
        server.setPort(Integer.parseInt(arguments[0]));
        var root = server.addContext("", System.getProperty("java.io.tmpdir"));
        Tomcat.addServlet(root, "spring", new TomcatHttpHandlerAdapter(handler)).setAsyncSupported(true);
        root.addServletMappingDecoded("/", "spring");
        server.getConnector();
        server.start();
        server.getServer().await();
    }
}
